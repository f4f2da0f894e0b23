"""A benchmark on disk: which experiments, under which common settings; and running what is still missing of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vidiff.bench.table import read_report
from vidiff.errors import RunError, UsageError
from vidiff.files import read_yaml
from vidiff.training.cli import resolved_config
from vidiff.training.run import config_hash

BUDGETS = {"clips": "budget_clips", "cpu_seconds": "budget_cpu_s", "gpu_seconds": "budget_gpu_s"}  # -> option of `fit`


@dataclass
class Benchmark:
    """What a file in `experiments/benchmarks/` holds.

    Args:
        runs: names of experiments, their paths in experiments/ without `.yaml`: `dcgan`, `ablations/d_unet`.
        base: the experiment that the others of `runs` are laid over; None: each is complete.
        overlay: settings laid over every one of them.
        own: settings of single experiments, by name, laid over these after `overlay`.
        seeds: one run per experiment, data set and seed.
        data_sets: name -> settings of the data, such as `{data: {init_args: {root: DIR}}}`, laid over `overlay`; the
            runs of each go to a folder of its name. None: the one that `overlay` says.
        budget: what ends every run, one of `clips`, `cpu_seconds` and `gpu_seconds`; None: `trainer.max_steps`.
    """

    runs: list[str]
    base: str | None = None
    overlay: dict[str, Any] = field(default_factory=dict)
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    data_sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    budget: dict[str, float] = field(default_factory=dict)

    def experiments(self, name: str) -> list[str]:
        """Files of experiments/ that a run is made of, in the order that they are laid over each other."""
        names = [name] if self.base in (None, name) else [self.base, name]
        return [f"experiments/{n}.yaml" for n in names]


KEYS = tuple(f.name for f in fields(Benchmark))


class Run(NamedTuple):
    """One experiment on one data set with one seed.

    Args:
        name: `<experiment>-seed<seed>`, below the name of its data set where there are several: its path in the
            folder of all runs.
        folder: where it goes.
        arguments: what `vidiff` is called with.
        experiment, data_set, seed: what it is one of; the data set is "" where only one is used.
    """

    name: str
    folder: Path
    arguments: list[str]
    experiment: str = ""
    data_set: str = ""
    seed: int = 0

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
        raise UsageError(f"{path} is no benchmark: {why}; accepted keys: {', '.join(KEYS)}") from None
    if len(benchmark.budget) > 1 or not set(benchmark.budget) <= set(BUDGETS):
        raise UsageError(f"{path}: budget: one of {', '.join(BUDGETS)}, got {', '.join(benchmark.budget)}")
    if odd := [name for name in benchmark.own if name not in benchmark.runs]:
        raise UsageError(f"{path}: own: {odd[0]} is not among its runs: {', '.join(benchmark.runs)}")
    return benchmark


def list_runs(benchmark: Benchmark, out: Path, settings: Path, extra: list[str]) -> list[Run]:
    """Every run of a benchmark.

    Args:
        benchmark, out, extra: see `run_missing`.
        settings: a folder for the files of `overlay` and `own`, which have to last until the runs have ended.
    """
    overlay = _written(settings / "_overlay.yaml", benchmark.overlay)
    own = {n: _written(settings / f"_own{i}.yaml", o) for i, (n, o) in enumerate(benchmark.own.items())}
    sets = {n: _written(settings / f"_data{i}.yaml", o) for i, (n, o) in enumerate(benchmark.data_sets.items())}
    budget = [word for kind, value in benchmark.budget.items() for word in (f"--{BUDGETS[kind]}", str(value))]
    runs = []
    # Seed by seed: what is there when time runs out is a whole comparison with fewer seeds.
    for seed, data_set, name in itertools.product(benchmark.seeds, sets or [""], benchmark.runs):
        files = [*benchmark.experiments(name), overlay, *([sets[data_set]] if data_set else [])]
        files += [own[name]] if name in own else []
        configs = [word for file in files for word in ("--config", file)]
        run = f"{data_set}/{name}-seed{seed}" if data_set else f"{name}-seed{seed}"
        place = ["--seed_everything", str(seed), "--run_dir", str(out / run)]
        runs.append(Run(run, out / run, ["fit", *configs, *budget, *place, *extra], name, data_set, seed))
    return runs


def _written(path: Path, settings: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


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
