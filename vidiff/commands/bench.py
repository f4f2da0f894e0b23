"""Rebuild a benchmark table, or measure the data path."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from vidiff.paths import experiments_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", allow_abbrev=False, help="train what is missing of a benchmark and print its table")
    run.add_argument("definition", help="a file of experiments/benchmarks, e.g. experiments/benchmarks/games.yaml")
    run.add_argument("--out", help="folder of the runs (default: runs/bench/<name>)")
    run.add_argument("--root", help="your folder of videos (default: the embedded set)")
    run.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each (default 2)")
    run.add_argument(
        "--fit",
        nargs=argparse.REMAINDER,
        default=[],
        help="last: further arguments of every fit, e.g. --fit --data.fit crop",
    )
    table = actions.add_parser("table", allow_abbrev=False, help="the table of finished runs")
    table.add_argument("runs", nargs="+", help="run folders")
    for action in (run, table):
        action.add_argument("--markdown", help="also write the table to this file")
    if importlib.util.find_spec("vidiff.bench.data"):
        from vidiff.bench.data import add_arguments as add_data_arguments

        add_data_arguments(actions.add_parser("data", allow_abbrev=False, help="speed of reading and augmenting"))


def run(args: argparse.Namespace) -> int:
    if args.action == "data":
        from vidiff.bench.data import run_data_bench

        run_data_bench(args)
        return 0
    from vidiff.bench.definition import load, run_missing
    from vidiff.bench.table import markdown, read_reports
    from vidiff.files import write_text
    from vidiff.training.cli import resolved_config

    if args.action == "run":
        path = Path(args.definition)
        if not path.is_file() and path.parts[:1] == ("experiments",):
            path = experiments_dir() / path.relative_to("experiments")
        out = Path(args.out) if args.out else Path("runs") / "bench" / path.stem
        extra = [*(["--data.root", args.root] if args.root else []), *args.fit]
        reports = read_reports(run_missing(load(path), out, extra, max(1, args.jobs), resolved_config), out)
    else:
        reports = read_reports([Path(r) for r in args.runs])
    text = markdown(reports)
    print(text)
    if args.markdown:
        write_text(Path(args.markdown), text)
    return 0
