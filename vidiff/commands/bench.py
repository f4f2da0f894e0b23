"""Rebuild a benchmark table, or measure the data path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vidiff.command_line import REST


def run(
    definition: Path,
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    jobs: int = 2,
    markdown: Path | None = None,
    fit: Annotated[list[str] | None, REST] = None,
) -> None:
    """Train what is missing of a benchmark and print its table.

    Args:
        definition: a file of experiments/benchmarks, e.g. experiments/benchmarks/games.yaml.
        output: folder of the runs (default: runs/bench/<name>).
        data_root: your folder of videos (default: the embedded set).
        jobs: runs at once, one thread each.
        markdown: also write the table to this file.
        fit: last: further arguments of every fit, e.g. --fit --data.fit crop.
    """
    from vidiff.bench.definition import load, run_missing
    from vidiff.configs import find_experiment

    path = find_experiment(definition) or definition
    output = output or Path("runs") / "bench" / path.stem
    extra = [*(["--data.root", str(data_root)] if data_root else []), *(fit or [])]
    _table(run_missing(load(path), output, extra, max(1, jobs)), output, markdown)


def table(runs: list[Path], *, markdown: Path | None = None) -> None:
    """Print the table of finished runs.

    Args:
        runs: run folders.
        markdown: also write the table to this file.
    """
    _table(runs, None, markdown)


def data(
    *,
    data_root: Path | None = None,
    num_frames: int = 16,
    resolution: int = 64,
    batch_size: int = 16,
    width: int = 32,
    seconds: float = 3.0,
    json_: bool = False,
) -> None:
    """Measure the speed of reading and augmenting.

    Args:
        data_root: folder of videos (default: the embedded set, data/shapes).
        num_frames, resolution, batch_size, width, seconds: see `vidiff.bench.data_costs.measure`.
        json_: print one JSON object.
    """
    import json

    from vidiff.bench.data_costs import measure, report

    result = measure(data_root, num_frames, resolution, batch_size, width, seconds)
    print(json.dumps(result, indent=2) if json_ else report(result))


def _table(runs: list[Path], output: Path | None, markdown: Path | None) -> None:
    """Print the table of runs; without an `output` they go by their own names."""
    from vidiff.bench.table import markdown as as_markdown
    from vidiff.bench.table import read_reports
    from vidiff.files import write_text

    text = as_markdown(read_reports(runs, output))
    print(text)
    if markdown:
        write_text(markdown, text)
