"""A benchmark on disk: which experiments, under which common settings; and running what is still missing of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vidiff.errors import RunError, UsageError


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
        benchmark = Benchmark(**yaml.safe_load(path.read_text()))
        for name in benchmark.own:
            if name not in benchmark.runs:
                raise UsageError(f"{path}: own: {name} is not among its runs: {', '.join(benchmark.runs)}")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such benchmark") from None
    except (TypeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{path} is no benchmark: {why}; accepted keys: runs, overlay, own, seeds") from None
    return benchmark


def run_missing(benchmark: Benchmark, out: Path, extra: list[str], jobs: int) -> list[Path]:
    """Train what has no report yet, `jobs` at a time, one thread each; returns the run folders in order.

    Args:
        benchmark: what to run.
        out: folder of the runs: `<out>/<experiment>-seed<seed>` with its log beside it; a run that was interrupted is
            continued.
        extra: further arguments of `fit`, such as `--data.root DIR`.
        jobs: runs at once.

    Raises:
        RunError: a run failed; its log is named, the others were finished.
    """
    out.mkdir(parents=True, exist_ok=True)
    folders = [out / f"{name}-seed{seed}" for name in benchmark.runs for seed in benchmark.seeds]
    waiting = [f for f in folders if not (f / "report.json").exists()]
    running: list[tuple[subprocess.Popen, Path]] = []
    failed: list[Path] = []
    with tempfile.TemporaryDirectory() as temporary:
        overlays = _write_overlays(benchmark, Path(temporary))
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


def _start(folder: Path, out: Path, overlays: dict[str, list[Path]], extra: list[str]) -> tuple[subprocess.Popen, Path]:
    run = folder.relative_to(out).as_posix()  # the experiment's folder, if it has one, is part of its name
    name, _, seed = run.rpartition("-seed")
    command = [sys.executable, "-m", "vidiff", "fit"]
    for config in (f"experiments/{name}.yaml", *overlays[name]):
        command += ["--config", str(config)]
    command += ["--seed_everything", seed, "--run_dir", str(folder), *extra]
    if (folder / "checkpoints" / "last.ckpt").exists():
        command += ["--ckpt_path", "last"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{run}: started, log {_log(folder)}", file=sys.stderr)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with _log(folder).open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment), folder
