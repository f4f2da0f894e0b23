"""What a machine does to a run (full disks, dead workers, no network): one line, nothing lost, and it can go on."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import child_environment, rows
from machines import allowed, disk, fill, make_read_only

from vidiff.cli import main
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.training.loggers import MetricsCSV

SMALL = ("--evaluation.num_clips", 8, "--evaluation.metrics", "fvd_random", "--evaluation.every_n_steps", 100)


def the_error(capsys) -> str:
    """The one line that says what went wrong."""
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("vidiff: error: ")]
    assert "Traceback" not in said
    return line


@pytest.fixture
def at_step_3(monkeypatch):
    """at_step_3(what): the next run does it once, when step 3 is written down."""
    log = MetricsCSV.log_metrics

    def set_up(what) -> None:
        done = []

        def log_and_do(self, metrics, step=None):
            log(self, metrics, step)
            if step == 3 and not done:
                done.append(what())

        monkeypatch.setattr(MetricsCSV, "log_metrics", log_and_do)

    return set_up


@pytest.mark.parametrize("room", [0.5, 0.01], ids=["half a checkpoint", "hardly a page"])
def test_a_full_disk_costs_the_steps_since_the_last_checkpoint(fit, tmp_path, capsys, at_step_3, room):
    """Really full: a disk of 32 MiB, filled before the checkpoint of step 4, emptied for the way on."""
    run = (*SMALL, "--trainer.max_steps", 4, "--checkpoints.every_n_steps", 2)
    assert fit("--run_dir", "straight", *run) == 0
    with disk(tmp_path / "disk", "32m") as small:
        last = small / "r/checkpoints/last.ckpt"
        at_step_3(lambda: fill(small, int(room * last.stat().st_size)))
        capsys.readouterr()
        assert fit("--run_dir", small / "r", *run) == 1
        said = the_error(capsys)
        assert str(small / "r") in said and ("No space left on device" in said or "is the disk full?" in said)
        assert read_checkpoint(last)["global_step"] == 2
        (small / "filler").unlink()
        at_step_3(lambda: None)
        assert fit("--run_dir", small / "r", *run, "--ckpt_path", "last") == 0
        assert (small / "r/metrics.csv").read_text() == Path("straight/metrics.csv").read_text()
        assert not list((small / "r").rglob(".vidiff-*"))


def test_a_disk_that_cannot_be_written(fit, tmp_path, capsys):
    with disk(tmp_path / "disk", "32m") as small:
        assert fit("--run_dir", small / "r", *SMALL, "--trainer.max_steps", 2) == 0
        make_read_only(small)
        capsys.readouterr()
        for more in (["--run_dir", small / "new"], ["--run_dir", small / "r", "--ckpt_path", "last"]):
            assert fit(*more, *SMALL, "--trainer.max_steps", 3) == 2
            assert "cannot write here" in the_error(capsys)
        model = ["--ckpt", str(small / "r/checkpoints/last.ckpt")]
        assert main(["sample", *model, "--output", str(small / "s"), "--num_clips", "1"]) == 2
        assert "cannot write here" in the_error(capsys)
        assert {p.name for p in small.iterdir()} == {"r"}
        make_read_only(small, False)


def test_a_data_worker_that_is_killed_ends_the_run_in_words(fit, capsys, at_step_3):
    def kill() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    words = ("--run_dir", "r", *SMALL, "--checkpoints.every_n_steps", 2, "--data.num_workers", 1)
    at_step_3(kill)
    assert fit(*words, "--trainer.max_steps", 40) == 1
    assert "a data worker died" in the_error(capsys)
    assert torch.load("r/checkpoints/last.ckpt", weights_only=True)["global_step"] >= 2
    at_step_3(lambda: None)
    assert fit(*words, "--trainer.max_steps", 6, "--ckpt_path", "last") == 0
    assert [r["step"] for r in rows(Path("r/metrics.csv"))] == [str(n) for n in range(7)]


def test_a_run_that_diverges_keeps_its_last_checkpoint(fit, capsys):
    assert fit("--run_dir", "r", *SMALL, "--trainer.max_steps", 2) == 0
    before = Path("r/checkpoints/last.ckpt").read_bytes()
    capsys.readouterr()
    on = ("--run_dir", "r", *SMALL, "--ckpt_path", "last", "--trainer.max_steps", 9)
    assert fit(*on, "--model.optimizer_g.lr", "1e30") == 1
    said = the_error(capsys)
    assert "training diverged" in said and "The last checkpoint is from before" in said
    assert Path("r/checkpoints/last.ckpt").read_bytes() == before
    assert fit(*on[:-1], 4) == 0
    with Path("r/metrics.csv").open() as table:
        assert [row["step"] for row in csv.DictReader(table)] == ["0", "1", "2", "3", "4"]


def test_a_video_that_is_exchanged_between_two_sittings(fit, shapes, tmp_path, capsys):
    """The same names, another content: refused; with the old content back, the run goes on."""
    import shutil

    root = shutil.copytree(shapes, tmp_path / "mine")
    assert fit("--run_dir", "r", *SMALL, "--trainer.max_steps", 2, root=root) == 0
    first, second = sorted(root.rglob("*.mp4"))[:2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    capsys.readouterr()
    on = ("--run_dir", "r", *SMALL, "--trainer.max_steps", 3, "--ckpt_path", "last")
    assert fit(*on, root=root) == 2
    assert "is not what the checkpoint was trained on" in the_error(capsys)
    assert torch.load("r/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    first.write_bytes(kept)
    assert fit(*on, root=root) == 0


@pytest.mark.slow
def test_without_a_route_to_wandb_the_run_says_what_keeps_it(shapes, tmp_path, monkeypatch):
    """A key is there, the network is not: an empty network namespace, in which nothing can be reached."""
    allowed("unshare", "-n", "true")
    words = ["-m", "vidiff", "fit", "--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
    words += ["--data.root", str(shapes), "--run_dir", "r", *map(str, SMALL), "--trainer.max_steps", "2"]
    words += ["--logger", "wandb"]
    key = {"WANDB_API_KEY": "0" * 40}

    def run(*more: str, **env: str) -> subprocess.CompletedProcess:
        command = ["unshare", "-n", sys.executable, *words, *more]
        return subprocess.run(
            command, env=child_environment() | key | env, capture_output=True, text=True, cwd=tmp_path
        )

    done = run()
    assert done.returncode == 1, done.stderr[-3000:]
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("vidiff: error: ")]
    assert "W&B" in said and "WANDB_MODE=offline" in said and "Traceback" not in done.stderr
    done = run(WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "r/wandb").glob("offline-run-*"))
