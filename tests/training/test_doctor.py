"""What a training says of itself: once, not at its beginning, not again after a resume; and why it ended."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from vidiff.errors import RunError
from vidiff.training.doctor import LIVE, Doctor
from vidiff.training.run import Run


def trainer_at(step: int, most: int = 1000, fn: str = "fit") -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=most, is_global_zero=True, state=SimpleNamespace(fn=fn))


def write_run(folder, rate: float, last: int) -> Run:
    rows = "\n".join(f"{s},{rate},{s / 100}" for s in range(10, last + 1, 10))
    (folder / "metrics.csv").write_text(f"step,train/lr_g,train/g_grad_norm\n{rows}\n")
    (folder / "config.yaml").write_text("trainer: {max_steps: 1000}\n")
    return Run(folder)


def test_a_warning_comes_once_and_not_again_after_a_resume(tmp_path, capsys):
    run = write_run(tmp_path, 0.0, 400)
    doctor = Doctor(run)
    for _ in range(3):
        doctor.on_validation_end(trainer_at(400), None)
    printed = capsys.readouterr().err
    assert printed.count("G stands still") == 1 and f"vidiff doctor {tmp_path}" in printed and printed.count("\n") == 1
    resumed = Doctor(run)
    resumed.load_state_dict(doctor.state_dict())
    resumed.on_validation_end(trainer_at(400), None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("trainer", [trainer_at(199), trainer_at(400, most=10_000), trainer_at(400, fn="validate")])
def test_nothing_is_said_at_the_beginning_or_outside_of_training(tmp_path, capsys, trainer):
    Doctor(write_run(tmp_path, 0.0, 400)).on_validation_end(trainer, None)
    assert capsys.readouterr().err == ""


def test_a_healthy_training_and_a_damaged_table_say_nothing(tmp_path, capsys):
    Doctor(write_run(tmp_path, 2e-4, 400)).on_validation_end(trainer_at(400), None)
    (tmp_path / "metrics.csv").write_text("step,train/lr_g\nx,1\n")
    Doctor(Run(tmp_path)).on_validation_end(trainer_at(400), None)
    assert capsys.readouterr().err == ""


def test_why_a_training_ended_is_kept_until_it_goes_on(tmp_path):
    doctor = Doctor(Run(tmp_path))
    doctor.on_exception(trainer_at(7), None, KeyboardInterrupt())
    assert not (tmp_path / "stopped.json").exists()  # whoever stops a run knows why
    doctor.on_exception(trainer_at(7), None, RunError("training diverged: g_adv=nan"))
    assert json.loads((tmp_path / "stopped.json").read_text()) == {"step": 7, "error": "training diverged: g_adv=nan"}
    doctor.on_train_start(trainer_at(5), None)
    assert not (tmp_path / "stopped.json").exists()


def test_what_only_the_end_can_tell_is_not_said_before():
    assert not {"few_clips", "improving", "starved"} & set(LIVE) and "d_won" in LIVE
