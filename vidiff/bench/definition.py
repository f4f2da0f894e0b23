"""A benchmark on disk: which experiments, under which common settings; and running what is still missing of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vidiff.bench.table import read_report
from vidiff.errors import RunError, UsageError
from vidiff.files import read_yaml
from vidiff.training.run import config_hash


@dataclass
class Benchmark:
    """What a file in `experiments/benchmarks/` holds.

    Args:
        runs: names of experiments, their paths in experiments/ without `.yaml`: `dcgan`, `ablations/plain`.
        overlay: settings laid over every one of them.
        own: settings of single experiments, by name, laid over these after `overlay`.
        seeds: one run per experiment and seed.
    """

    runs: list[str]
    overlay: dict[str, Any] = field(default_factory=dict)
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])


def load(path: Path) -> Benchmark:
    """Read a definition.

    Raises:
        UsageError: no such file, not YAML, an unknown key, or own settings of what is not run.
    """
    try:
        benchmark = Benchmark(**read_yaml(path))
        for name in benchmark.own:
            if name not in benchmark.runs:
                raise UsageError(f"{path}: own: {name} is not among its runs: {', '.join(benchmark.runs)}")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such benchmark") from None
    except TypeError as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{path} is no benchmark: {why}; accepted keys: runs, overlay, own, seeds") from None
    return benchmark


def run_missing(
    benchmark: Benchmark, out: Path, extra: list[str], jobs: int, resolved: Callable[[list[str]], str]
) -> list[Path]:
    """Train what has no report of its configuration yet, `jobs` at a time, one thread each; the run folders in order.

    Args:
        benchmark: what to run.
        out: folder of the runs: `<out>/<experiment>-seed<seed>` with its log beside it. A run that was interrupted is
            continued; one of another configuration than it would have now is put aside under another name and run
            anew. A report of an older version does not say what it is of: it is named, and taken as it is.
        extra: further arguments of `fit`, such as `--data.root DIR`.
        jobs: runs at once.
        resolved: arguments of `fit` -> the configuration that they give, as `config.yaml` has it.

    Raises:
        RunError: a run failed; its log is named, the others were finished.
    """
    out.mkdir(parents=True, exist_ok=True)
    folders = [out / f"{name}-seed{seed}" for name in benchmark.runs for seed in benchmark.seeds]
    running: list[tuple[subprocess.Popen, Path]] = []
    failed: list[Path] = []
    with tempfile.TemporaryDirectory() as temporary:
        overlays = _write_overlays(benchmark, Path(temporary))
        waiting = [f for f in folders if not _is_done(f, out, _arguments(f, out, overlays, extra), resolved)]
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), out, overlays, extra))
            time.sleep(0.2)
            for process, folder in list(running):
                if process.poll() is not None:
                    running.remove((process, folder))
                    verdict = "done" if process.returncode == 0 else "FAILED"
                    print(f"{folder.relative_to(out)}: {verdict}", file=sys.stderr)
                    if process.returncode != 0:
                        failed.append(folder)
    if failed:
        raise RunError(f"{len(failed)} run(s) failed; see {', '.join(str(_log(f)) for f in failed)}")
    return folders


def _is_done(folder: Path, out: Path, arguments: list[str], resolved: Callable[[list[str]], str]) -> bool:
    """Whether a run has a report of what it would be now; a run of another configuration is put aside."""
    report, config = folder / "report.json", folder / "config.yaml"
    run = folder.relative_to(out).as_posix()
    if report.exists():
        had = read_report(report).get("config_hash")
        if had is None:
            print(f"{run}: {report} is of an older version and does not say of which configuration: not checked, "
                  "taken as it is. Remove the folder to run it anew.", file=sys.stderr)  # fmt: skip
            return True
    elif config.exists():
        had = config_hash(config.read_text())
    else:
        return False
    if had == config_hash(resolved(arguments)):
        return report.exists()
    aside = next(a for k in range(1, 10_000) if not (a := folder.with_name(f"{folder.name}.before-{k}")).exists())
    folder.rename(aside)
    print(f"{run}: its configuration has changed since it was run: runs anew, the old run is {aside}", file=sys.stderr)
    return False


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def _write_overlays(benchmark: Benchmark, folder: Path) -> dict[str, list[Path]]:
    """The files that each experiment is laid under, in order."""
    everyone = folder / "_overlay.yaml"
    everyone.write_text(yaml.safe_dump(benchmark.overlay))
    overlays = {name: [everyone] for name in benchmark.runs}
    for number, (name, settings) in enumerate(benchmark.own.items()):
        own = folder / f"_own{number}.yaml"
        own.write_text(yaml.safe_dump(settings))
        overlays[name].append(own)
    return overlays


def _arguments(folder: Path, out: Path, overlays: dict[str, list[Path]], extra: list[str]) -> list[str]:
    """What `vidiff` is called with for a run."""
    # The experiment's folder, if it has one, is part of its name.
    name, _, seed = folder.relative_to(out).as_posix().rpartition("-seed")
    arguments = ["fit"]
    for config in (f"experiments/{name}.yaml", *overlays[name]):
        arguments += ["--config", str(config)]
    return [*arguments, "--seed_everything", seed, "--run_dir", str(folder), *extra]


def _start(folder: Path, out: Path, overlays: dict[str, list[Path]], extra: list[str]) -> tuple[subprocess.Popen, Path]:
    command = [sys.executable, "-m", "vidiff", *_arguments(folder, out, overlays, extra)]
    if (folder / "checkpoints" / "last.ckpt").exists():
        command += ["--ckpt_path", "last"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{folder.relative_to(out).as_posix()}: started, log {_log(folder)}", file=sys.stderr)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with _log(folder).open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment), folder
