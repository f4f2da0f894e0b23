"""Runs as processes: what they say, that they end with the one that started them, arrays of jobs on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import child_environment

from vidiff.bench import launch
from vidiff.bench.definition import Run
from vidiff.bench.launch import here, last_line, on_cluster, progress_table, train
from vidiff.errors import UsageError


def runs_of(tmp_path, count=3, arguments=("--version",)):
    return [Run(f"r{i}", tmp_path / "out" / f"r{i}", list(arguments), f"r{i}") for i in range(count)]


def test_a_run_is_a_process_with_a_log(tmp_path):
    good, bad = runs_of(tmp_path, 2)
    assert train(good) == 0 and last_line(good.log).startswith("vidiff ")
    assert train(bad._replace(arguments=["no_such_verb"])) == 2 and "no_such_verb" in last_line(bad.log)
    assert last_line(tmp_path / "none.log") == ""


def test_a_run_continues_from_its_last_checkpoint(tmp_path, monkeypatch):
    """And has one thread."""
    (run,) = runs_of(tmp_path, 1)
    (run.folder / "checkpoints").mkdir(parents=True)
    (run.folder / "checkpoints" / "last.ckpt").touch()
    seen = []

    class Process(subprocess.Popen):
        def __init__(self, command, **how):
            seen.append((command[3:], how["env"]["OMP_NUM_THREADS"]))
            super().__init__([sys.executable, "-c", ""], **how)

    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    assert train(run) == 0 and seen == [(["--version", "--ckpt_path", "last"], "1")]


def test_one_that_fails_stops_nothing(tmp_path, monkeypatch):
    runs = runs_of(tmp_path, 4)
    state, finished = {run.name: "waiting" for run in runs}, []

    def one(run):
        if run.name == "r2":
            raise OSError("no space")
        return int(run.name == "r1")

    monkeypatch.setattr(launch, "train", one)
    here(runs, 2, state, lambda run: finished.append(run.name))
    assert state == {"r0": "done", "r1": "FAILED", "r2": "FAILED", "r3": "done"} and sorted(finished) == ["r0", "r3"]


def test_runs_end_with_the_one_that_started_them(tmp_path):
    """Killed, it cannot tell them: they notice."""
    program = f"""
import sys
from vidiff.bench.launch import train
from vidiff.bench.definition import Run
from pathlib import Path
train(Run("r", Path({str(tmp_path / "r")!r}), ["fit", "--config", "experiments/dcgan.yaml",
      "--config", "experiments/_tiny.yaml", "--trainer.max_steps", "1000000", "--run_dir", {str(tmp_path / "r")!r}]))
"""
    starter = subprocess.Popen([sys.executable, "-c", program], env=child_environment())
    log, child = tmp_path / "r.log", None
    while child is None:
        assert starter.poll() is None
        time.sleep(0.05)
        if log.exists():
            child = children_of(starter.pid)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    while alive(child):  # the test's own deadline is pytest's
        time.sleep(0.05)


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            words = file.read().split()
    except OSError:
        pytest.skip("needs /proc with children of processes")
    return int(words[0]) if words else None


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_array_of_jobs(tmp_path):
    """submitit's executor for one machine: the same path as on a cluster, without a queue."""
    pytest.importorskip("submitit")
    runs = runs_of(tmp_path, 3)
    runs[1] = runs[1]._replace(arguments=["no_such_verb"])
    state, finished = {run.name: "waiting" for run in runs}, []
    on_cluster(runs, 2, state, lambda run: finished.append(run.name), "local", tmp_path / "jobs", {"timeout_min": 5})
    assert state == {"r0": "done", "r1": "FAILED", "r2": "done"} and sorted(finished) == ["r0", "r2"]
    assert last_line(runs[2].log).startswith("vidiff ")


def test_cluster_errors(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))  # no srun
    with pytest.raises(UsageError, match="--cluster slurm"):
        on_cluster(runs_of(tmp_path), 2, {}, print, "slurm", tmp_path, {})
    with pytest.raises(UsageError, match="--cluster local: .*nonsense"):
        on_cluster(runs_of(tmp_path), 2, {}, print, "local", tmp_path, {"nonsense": 3})


def test_the_table_of_progress_begins_with_what_runs(tmp_path):
    from rich.console import Console

    runs = runs_of(tmp_path, 3)
    (tmp_path / "out").mkdir()
    runs[2].log.write_text("vidiff: something\nstep 120/400  30 %  4 min left\n\n")
    console = Console(width=100, record=True, file=open(os.devnull, "w"))
    console.print(progress_table(runs, {"r0": "done", "r1": "waiting", "r2": "running"}))
    text = console.export_text()
    assert "1 done, 1 waiting, 1 running" in text and "step 120/400  30 %" in text
    assert text.index("r2") < text.index("r0") < text.index("r1")
