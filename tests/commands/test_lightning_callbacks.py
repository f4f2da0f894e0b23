"""Lightning's own callbacks and strategy names in `fit`: they see the suite's evaluation and act on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

EVERY_STEP = ("--run_dir", "r", "--evaluation.every_n_steps", "1")


def test_early_stopping_on_a_validation_metric(fit):
    """With a threshold that every value passes, the first evaluation after a step ends the run; the report follows."""
    stop = ("EarlyStopping", "--trainer.callbacks.monitor", "val/fvd_random")
    stop += ("--trainer.callbacks.stopping_threshold", "1e9")
    assert fit(*EVERY_STEP, "--trainer.callbacks", *stop, "--trainer.max_steps", "5") == 0
    report = json.loads(Path("r/report.json").read_text())
    assert report["steps"] == 1


def test_checkpoints_by_a_validation_metric(fit):
    """Every evaluation is offered, the best two by the monitored metric are kept, in the run's own folder."""
    Path("keep.yaml").write_text(
        "trainer:\n  callbacks:\n  - class_path: ModelCheckpoint\n    init_args: "
        "{monitor: val/diversity, mode: max, save_top_k: 2, filename: '{step}'}\n"
    )
    assert fit(*EVERY_STEP, "--config", "keep.yaml", "--trainer.max_steps", "3") == 0
    from helpers import rows

    values = {int(r["step"]): float(r["val/diversity"]) for r in rows(Path("r/metrics.csv")) if r["step"] != "0"}
    best = sorted(values, key=values.get)[-2:]
    kept = sorted(int(p.stem.split("=")[1]) for p in Path("r/checkpoints").glob("step=*.ckpt"))
    assert kept == sorted(best)
    assert torch.load(f"r/checkpoints/step={best[1]}.ckpt", weights_only=True)["global_step"] == best[1]


def test_a_metric_that_is_not_evaluated_is_named(fit, capsys):
    assert fit("--run_dir", "r", "--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/no") == 2
    said = capsys.readouterr().err
    assert "'val/no' is not evaluated; there are: " in said
    assert {"val/diversity", "val/fvd_random", "val/motion"} < set(said.strip().rpartition(": ")[2].split(", "))


@pytest.mark.parametrize("name", ["ddp", "ddp_spawn", "ddp_find_unused_parameters_true"])
def test_ddp_by_any_name_is_the_games_own_strategy(name):
    from lightning.pytorch.strategies import SingleDeviceStrategy

    from vidiff.parallel import GameStrategy
    from vidiff.training.trainer import make_trainer

    common = dict(accelerator="cpu", logger=False, enable_checkpointing=False, strategy=name)
    assert type(make_trainer(common | {"devices": 1}).strategy) is SingleDeviceStrategy
    assert type(make_trainer(common | {"devices": 2}).strategy) is GameStrategy


def test_what_a_ddp_strategy_was_given_is_kept():
    from datetime import timedelta

    from lightning.pytorch.strategies import DDPStrategy

    from vidiff.training.trainer import make_trainer

    given = DDPStrategy(timeout=timedelta(seconds=77), process_group_backend="gloo")
    settings = dict(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False, strategy=given)
    strategy = make_trainer(settings).strategy
    assert strategy._timeout.total_seconds() == 77 and strategy.process_group_backend == "gloo"
