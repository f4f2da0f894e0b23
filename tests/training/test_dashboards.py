"""What dashboards are given and what they hold: keys, steps, floors, over interruptions too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import wandb_history

from vidiff.training import dashboards
from vidiff.training.dashboards import TensorBoardDashboard, WandbDashboard, charts, key_of
from vidiff.training.loggers import MetricsCSV
from vidiff.training.run import Run
from vidiff.video.write import write_gif, write_mp4, write_png

ROW = {"train/g_total": 1.0, "train/d_real_logit": 0.5, "time/clips_per_s": 9.0}


@pytest.fixture
def files(tmp_path):
    """Samples of an evaluation."""
    made = {kind: tmp_path / f"clips.{kind}" for kind in ("png", "gif", "mp4")}
    clip = torch.arange(3 * 2 * 16 * 16, dtype=torch.uint8).reshape(3, 2, 16, 16)
    write_png(made["png"], np.zeros((16, 16, 3), np.uint8))
    write_gif(made["gif"], clip)
    write_mp4(made["mp4"], clip)
    return made


@pytest.mark.parametrize("name, key", [
    ("train/g_total", "loss_g/total"),
    ("train/d_fake_a", "loss_d/fake_a"),
    ("train/d_real_logit", "logits/real"),
    ("train/d_separation", "logits/separation"),
    ("train/g_grad_norm", "gradient_norm/g"),
    ("train/lr_d", "rate/d"),
    ("train/d_class_accuracy_real", "also/d_class_accuracy_real"),
    ("train/g_mask_mean", "also/g_mask_mean"),
    ("train/ada_p", "strategy/ada_p"),
    ("val/fvd_random_a2b", "metric/fvd_random_a2b"),
    ("val/d_real_logit", "logits/held_out"),
    ("test/psnr_gain_a2b", "paired/psnr_gain_a2b"),
    ("time/data_wait_frac", "speed/data_wait_frac"),
    ("lr-Adam", "lr-Adam"),
])  # fmt: skip
def test_every_name_has_its_section(name, key):
    assert key_of(name) == key


def sit(board, table, steps, files):
    """One sitting that logs every step and evaluates at every second."""
    for step in steps:
        for logger in (table, board):
            logger.log_metrics(ROW, step)
        if step % 2 == 0:
            for logger in (table, board):
                logger.log_metrics({"val/motion": step / 10}, step)
            board.log_floors({"val/motion": 1.0}, step)
            board.log_clips(files, step)


def resumed(make, folder, step):
    """A run that goes on from its checkpoint at `step`, as `TrainingLog` tells its loggers."""
    run = Run(folder, resumed=True)
    board, table = make(run), MetricsCSV(run)
    board.resume_at(step, table.resume_at(step))
    return board, table


def test_tensorboard_has_no_step_twice(tmp_path, files):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path / "r")
    board = TensorBoardDashboard(run)
    assert not run.dir.exists()  # a run that is refused leaves nothing behind
    sit(board, MetricsCSV(run), range(6), files)  # killed after step 5, its last checkpoint is of step 3
    board.finalize("failed")
    board, table = resumed(TensorBoardDashboard, run.dir, 3)
    sit(board, table, range(4, 8), files)
    board.finalize("success")
    events = EventAccumulator(str(tmp_path / "r/tensorboard")).Reload()
    assert [e.step for e in events.Scalars("loss_g/total")] == list(range(8))
    assert [(e.step, e.value) for e in events.Scalars("metric/motion_floor")] == [(s, 1.0) for s in (0, 2, 4, 6)]
    assert [e.step for e in events.Images("samples/clips")] == [0, 2, 4, 6]
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_charts_hold_a_metric_and_its_floor():
    together, players = charts(["metric/motion", "metric/fvd_random_a2b"]).values()
    assert together["fvd_random_a2b"] == ["Multiline", ["metric/fvd_random_a2b$", "metric/fvd_random_a2b_floor$"]]
    assert set(together) == {"motion", "fvd_random_a2b"} and len(players) == 3


def test_wandb_goes_on_where_it_stood(tmp_path, files):
    import wandb

    make = lambda run: WandbDashboard(run, {"model": {"width": 8}})  # noqa: E731
    run = Run(tmp_path / "r")
    board = make(run)
    assert not run.dir.exists()
    sit(board, MetricsCSV(run), range(6), files)
    board.finalize("failed")
    board, table = resumed(make, run.dir, 3)
    sit(board, table, range(4, 8), files)
    board.finalize("success")
    wandb.teardown()  # its own process writes what is left
    first, second = sorted((run.dir / "wandb").glob("offline-run-*"))
    assert [row["_step"] for row in wandb_history(first)] == list(range(6))
    rows = wandb_history(second)
    assert [row["generator_step"] for row in rows] == [6, 7] and rows[0]["metric/motion_floor"] == 1
    assert first.name.split("-")[-1] == second.name.split("-")[-1]
    fresh = make(Run(run.dir))  # the folder is used again by another run
    assert fresh.opened.id != first.name.split("-")[-1]
    fresh.finalize("success")


@pytest.mark.parametrize("mode, key, expected", [
    (None, False, "offline"),
    ("online", False, "offline"),
    ("online", True, "online"),
    (None, True, "online"),
    ("offline", True, "offline"),
    ("disabled", True, "disabled"),
])  # fmt: skip
def test_wandb_is_online_only_with_a_key(monkeypatch, mode, key, expected):
    import wandb

    asked = []
    monkeypatch.setattr(wandb, "login", lambda **options: asked.append(options) or key)
    monkeypatch.setenv("WANDB_MODE", mode) if mode else monkeypatch.delenv("WANDB_MODE", raising=False)
    assert dashboards._wandb_mode() == expected
    assert all(options["prompt"] is False for options in asked)


def test_wandb_finds_no_key_and_asks_nobody():
    assert dashboards._wandb_mode() == "offline"
