"""A benchmark on disk: which experiments, data sets and seeds, under which common settings and budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vidiff.errors import UsageError, unknown_name
from vidiff.files import read_yaml, write_text

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

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def has_report(self) -> bool:
        return self.report.exists()


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
        benchmark: what to run.
        out: folder of the runs.
        settings: a folder for the files of `overlay`, `own` and `data_sets`, which last as long as the runs.
        extra: further arguments of `fit`, such as `--data.root DIR`.
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
    write_text(path, yaml.safe_dump(settings))
    return str(path)


def chosen(runs: Sequence[Run], only: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Run]:
    """Those of some experiments and seeds, for one of several machines; nothing given is all of them.

    Raises:
        UsageError: an experiment that is not among them.
    """
    names = list(dict.fromkeys(run.experiment for run in runs))
    if odd := [name for name in only if name not in names]:
        raise UsageError(f"--only: {unknown_name('experiment', odd[0], names)}")
    return [run for run in runs if (not only or run.experiment in only) and (not seeds or run.seed in seeds)]
