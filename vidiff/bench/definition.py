"""A benchmark on disk: which experiments, under which common settings; and running what is still missing of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vidiff.bench.table import read_report
from vidiff.errors import RunError, UsageError
from vidiff.files import read_yaml
from vidiff.training.cli import resolved_config
from vidiff.training.run import config_hash


@dataclass
class Benchmark:
    """What a file in `experiments/benchmarks/` holds.

    Args:
        runs: names of experiments, their paths in experiments/ without `.yaml`: `dcgan`, `ablations/d_unet`.
        base: the experiment that the others of `runs` are laid over; None: each is complete.
        overlay: settings laid over every one of them.
        own: settings of single experiments, by name, laid over these after `overlay`.
        seeds: one run per experiment and seed.
    """

    runs: list[str]
    base: str | None = None
    overlay: dict[str, Any] = field(default_factory=dict)
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])

    def experiments(self, name: str) -> list[str]:
        """Files of experiments/ that a run is made of, in the order that they are laid over each other."""
        names = [name] if self.base in (None, name) else [self.base, name]
        return [f"experiments/{n}.yaml" for n in names]


class Run(NamedTuple):
    """One experiment with one seed.

    Args:
        name: `<experiment>-seed<seed>`, its path in the folder of all runs.
        folder: where it goes.
        arguments: what `vidiff` is called with.
    """

    name: str
    folder: Path
    arguments: list[str]

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.folder.with_name(f"{self.folder.name}.log")


def load(path: Path) -> Benchmark:
    """Read a definition.

    Raises:
        UsageError: no such file, not YAML, an unknown key, or own settings of what is not run.
    """
    try:
        benchmark = Benchmark(**read_yaml(path))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such benchmark") from None
    except TypeError as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{path} is no benchmark: {why}; accepted keys: runs, base, overlay, own, seeds") from None
    if odd := [name for name in benchmark.own if name not in benchmark.runs]:
        raise UsageError(f"{path}: own: {odd[0]} is not among its runs: {', '.join(benchmark.runs)}")
    return benchmark


def list_runs(benchmark: Benchmark, out: Path, settings: Path, extra: list[str]) -> list[Run]:
    """Every run of a benchmark.

    Args:
        benchmark, out, extra: see `run_missing`.
        settings: a folder for the files of `overlay` and `own`, which have to last until the runs have ended.
    """
    overlay = settings / "_overlay.yaml"
    overlay.write_text(yaml.safe_dump(benchmark.overlay))
    runs = []
    for number, name in enumerate(benchmark.runs):
        files = [*benchmark.experiments(name), str(overlay)]
        if name in benchmark.own:
            own = settings / f"_own{number}.yaml"
            own.write_text(yaml.safe_dump(benchmark.own[name]))
            files.append(str(own))
        configs = [word for file in files for word in ("--config", file)]
        for seed in benchmark.seeds:
            run = f"{name}-seed{seed}"
            place = ["--seed_everything", str(seed), "--run_dir", str(out / run)]
            runs.append(Run(run, out / run, ["fit", *configs, *place, *extra]))
    return runs


def run_missing(benchmark: Benchmark, out: Path, extra: list[str], jobs: int) -> list[Path]:
    """Train what has no report of its configuration yet, `jobs` at a time, one thread each; the run folders in order.

    Args:
        benchmark: what to run.
        out: folder of the runs: `<out>/<experiment>-seed<seed>`, each with its log next to it. A run that was
            interrupted is continued; one of another configuration than it would have now is put aside under another
            name and run anew. A report of an older version does not hold its configuration: it is named, and taken.
        extra: further arguments of `fit`, such as `--data.root DIR`.
        jobs: runs at once.

    Raises:
        RunError: a run failed; its log is named, the others were finished.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as settings:
        runs = list_runs(benchmark, out, Path(settings), extra)
        missing = [run for run in runs if not _is_done(run)]
        with ThreadPoolExecutor(jobs) as pool:
            failed = [run for run, code in zip(missing, pool.map(_train, missing)) if code]
    if failed:
        raise RunError(f"{len(failed)} run(s) failed; see {', '.join(str(run.log) for run in failed)}")
    return [run.folder for run in runs]


def _is_done(run: Run) -> bool:
    """Whether a run has a report of what it would be now; a run of another configuration is put aside."""
    report, config = run.folder / "report.json", run.folder / "config.yaml"
    if report.exists():
        before = read_report(report).get("config_hash")
        if before is None:
            print(f"{run.name}: {report} is of an older version and does not say of which configuration: not checked, "
                  "taken as it is. Remove the folder to run it anew.", file=sys.stderr)  # fmt: skip
            return True
    elif config.exists():
        before = config_hash(config.read_text())
    else:
        return False
    if before == config_hash(resolved_config(run.arguments)):
        return report.exists()
    names = (run.folder.with_name(f"{run.folder.name}.before-{number}") for number in itertools.count(1))
    aside = run.folder.rename(next(name for name in names if not name.exists()))
    print(
        f"{run.name}: its configuration has changed since it was run: runs anew, the old run is {aside}",
        file=sys.stderr,
    )
    return False


def _train(run: Run) -> int:
    """Train in a process of its own; its exit code."""
    command = [sys.executable, "-m", "vidiff", *run.arguments]
    if (run.folder / "checkpoints" / "last.ckpt").exists():
        command += ["--ckpt_path", "last"]
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{run.name}: started, log {run.log}", file=sys.stderr)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with run.log.open("a") as log:
        code = subprocess.call(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    print(f"{run.name}: {'FAILED' if code else 'done'}", file=sys.stderr)
    return code
