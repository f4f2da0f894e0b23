"""Runs that are told to stop, and runs that are killed again and again: nothing is lost, and all is the same run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import child_environment, rows

from vidiff.files import TEMPORARY
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config
from vidiff.training.loggers import MetricsCSV

SETTINGS = ("--trainer.max_steps", 12, "--evaluation.every_n_steps", 6, "--checkpoints.every_n_steps", 5)
SETTINGS += ("--data.clips_per_epoch", 24, "--evaluation.num_clips", 8, "--evaluation.metrics", "fvd_random")


@pytest.fixture
def told(monkeypatch):
    """told(how): the next runs get this signal when step 7 is written down, the last one of a list as often as it is
    in it."""
    log = MetricsCSV.log_metrics

    def set_up(*how: int) -> None:
        def log_and_tell(self, metrics, step=None):
            log(self, metrics, step)
            for number in how if step == 7 else ():
                os.kill(os.getpid(), number)

        monkeypatch.setattr(MetricsCSV, "log_metrics", log_and_tell)

    return set_up


@pytest.mark.parametrize(("how", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 143)], ids=["USR1", "TERM"])
def test_a_run_that_is_told_to_stop_is_continued_exactly(fit, told, capsys, how, code):
    """In the middle of an epoch, with a checkpoint that is not due."""
    assert fit("--run_dir", "straight", *SETTINGS) == 0
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    told(how)
    capsys.readouterr()
    assert fit("--run_dir", "parts", *SETTINGS) == code
    said = capsys.readouterr().err
    assert "stops after this step, with a checkpoint" in said and "Traceback" not in said
    assert said.splitlines()[-1] in ("vidiff: stopped in order; --ckpt_path last continues", "vidiff: terminated")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before
    assert torch.load("parts/checkpoints/last.ckpt", weights_only=True)["global_step"] in (7, 8)
    told()
    assert fit("--run_dir", "parts", *SETTINGS, "--ckpt_path", "last") == 0
    assert Path("straight/metrics.csv").read_text() == Path("parts/metrics.csv").read_text()


def test_told_twice_it_ends_at_once(fit, told, capsys):
    told(signal.SIGTERM, signal.SIGTERM)
    assert fit("--run_dir", "r", *SETTINGS) == 143
    assert torch.load("r/checkpoints/last.ckpt", weights_only=True)["global_step"] == 5  # the one that was due


TELLS_THE_SECOND = """
import os, signal, sys
from vidiff.training.loggers import MetricsCSV
from vidiff.training.training_log import TrainingLog
from vidiff.cli import main
end = TrainingLog.on_train_batch_end
def end_and_tell(self, trainer, module, *args):
    end(self, trainer, module, *args)
    if trainer.global_step == 7 and trainer.global_rank == 1:
        os.kill(os.getpid(), signal.SIGUSR1)
TrainingLog.on_train_batch_end = end_and_tell
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_of_two_processes_both_stop_after_the_same_step(shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.py").write_text(TELLS_THE_SECOND)
    words = ["fit", "--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
    words += ["--data.root", str(shapes), *map(str, SETTINGS), "--trainer.devices", "2"]

    def run(*command: str) -> int:
        with open("err", "a") as err:
            return subprocess.run([sys.executable, *command], env=child_environment(), stderr=err).returncode

    assert run("-m", "vidiff", *words, "--run_dir", "straight") == 0
    assert run("told.py", *words, "--run_dir", "parts") == 75, Path("err").read_text()[-3000:]
    assert torch.load("parts/checkpoints/last.ckpt", weights_only=True)["global_step"] == 7
    assert run("-m", "vidiff", *words, "--run_dir", "parts", "--ckpt_path", "last") == 0
    assert Path("straight/metrics.csv").read_text() == Path("parts/metrics.csv").read_text()
    assert "Traceback" not in Path("err").read_text()


def test_the_job_for_slurm_is_a_script_whose_command_is_ours(shapes, tmp_path):
    """Run by bash with a stand-in for srun, which prints what it is called with and ends as a run told to stop."""
    script = experiments_dir() / "cluster" / "train.sbatch"
    for name, text in (("srun", 'echo "$@"; exit 75'), ("scontrol", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "r" / "checkpoints").mkdir(parents=True)
    (tmp_path / "r" / "checkpoints" / "last.ckpt").touch()
    slurm = {"SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_JOB_ID": "7"}
    env = child_environment() | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(script), "experiments/dcgan.yaml", str(tmp_path / "r"), "--data.root", str(shapes)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    first, second = done.stdout.splitlines()
    words = first.split()
    assert done.returncode == 75 and second == "requeue 7" and words[:2] == ["vidiff", "fit"]
    assert words[-2:] == ["--ckpt_path", "last"] and "num_nodes: 1" in resolved_config(words[1:-2])
    assert subprocess.run(["bash", str(script)], env=env, capture_output=True, text=True).returncode != 0


def continued(folder: Path, words: list[str]) -> int:
    """A process that begins or continues the run; forked, for the imports take longer than the run."""
    if child := os.fork():
        return child
    code = 1
    try:
        for stream in (1, 2):
            os.dup2(os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        from vidiff.cli import main

        has = (folder / "checkpoints" / "last.ckpt").exists()
        code = main(["fit", *words, "--run_dir", str(folder), *(["--ckpt_path", "last"] if has else [])])
    finally:
        os._exit(code)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
def test_killed_fifty_times_it_is_the_same_run(shapes, tmp_path, monkeypatch):
    """SIGKILL at random moments and, every other time, while a file is being written; always resumable."""
    monkeypatch.chdir(tmp_path)
    draw, kills, in_a_write = random.Random(0), 0, 0
    words = ["--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml", "--data.root", str(shapes)]
    words += [*map(str, SETTINGS), "--trainer.max_steps", "150", "--evaluation.every_n_steps", "50"]
    words += ["--checkpoints.every_n_steps", "1", "--trainer.enable_progress_bar", "false"]
    assert os.waitpid(continued(tmp_path / "straight", words), 0)[1] == 0
    folder, code = tmp_path / "killed", None
    while code is None:
        child, last = continued(folder, words), folder / "checkpoints" / "last.ckpt"
        began = last.stat().st_mtime_ns if last.exists() else 0
        wanted, seen = draw.randrange(1, 4), 0
        while code is None:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = status
                break
            now = last.stat().st_mtime_ns if last.exists() else 0
            if now != began:
                began, seen = now, seen + 1
            writing = any(TEMPORARY.fullmatch(p.name) for p in folder.rglob("*")) if kills % 2 else False
            if kills < 50 and seen >= wanted and (writing or not kills % 2):
                time.sleep(0 if writing else draw.random() * 0.05)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills, in_a_write = kills + 1, in_a_write + writing
                if last.exists():
                    read_checkpoint(last)  # checks every part
                break
            time.sleep(0.001)
    assert code == 0, folder.with_suffix(".log").read_text()[-2000:]
    assert kills == 50 and in_a_write >= 15
    assert (tmp_path / "straight/metrics.csv").read_text() == (folder / "metrics.csv").read_text()
    assert rows(folder / "metrics.csv")[-1]["step"] == "150"
