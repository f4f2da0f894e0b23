"""One global batch on any number of processes: two begin a run, one goes on, in parts, and makes the same steps."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from exact import TOLERANCE, apart, in_processes, model_of
from helpers import quiet_trainer

from vidiff.data.datamodule import ClipDataModule
from vidiff.errors import UsageError
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator

DATA = dict(num_frames=8, resolution=16, num_workers=0, clips_per_epoch=24, augment="standard")


def member(
    root: Path, out: Path, steps: int, parts: int, start: Path | None, rank: int, world: int, several: dict
) -> None:
    """One process of a training that goes on from `start` and writes a checkpoint."""
    networks = dict(num_classes=None, generator=lambda spec: ConvGenerator(spec, norm="layer"))
    networks |= dict(discriminator=lambda spec: ConvDiscriminator(spec, norm="layer"))
    trainer = quiet_trainer(max_steps=steps, precision="64-true", limit_val_batches=0, **several)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the global batch was")
        data = ClipDataModule(root, global_batch_size=8, batch_size=1, **DATA)
        trainer.fit(
            model_of("DCGAN", accumulate=parts, **networks), datamodule=data, ckpt_path=start, weights_only=True
        )
    trainer.save_checkpoint(out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_one_process_goes_on_where_two_stopped(strips, tmp_path):
    paths = [tmp_path / name for name in ("straight.ckpt", "two.ckpt", "one.ckpt")]
    in_processes(1, member, strips, paths[0], 5, 1, None)
    in_processes(2, member, strips, paths[1], 2, 1, None)  # three batches are an epoch
    in_processes(1, member, strips, paths[2], 5, 2, paths[1])
    straight, two, one = (torch.load(path, weights_only=True) for path in paths)
    stands = [run["loops"]["fit_loop"]["state_dict"]["combined_loader"][0] for run in (straight, one)]
    assert straight["global_step"] == one["global_step"] == 5 and stands[0] == stands[1]
    assert max(apart(straight["state_dict"], one["state_dict"]).values()) < TOLERANCE
    assert apart(two["state_dict"], one["state_dict"])["weights"] > 1e-4


def test_each_process_gets_its_share(strips):
    class Standing:
        global_rank, limit_train_batches = 1, 1.0

        def __init__(self, world):
            self.world_size = world

    data = ClipDataModule(strips, global_batch_size=12, batch_size=5, **DATA)
    for world in (2, 3, 4, 6):
        data.trainer = Standing(world)
        loader, size = data.train_dataloader(), 12 // world
        assert next(iter(loader))["slot"].tolist() == list(range(size, 2 * size))
        assert loader.state_dict()["global_batch"] == 12 and len(loader) == 2
    data.trainer = Standing(5)
    with pytest.raises(UsageError, match="data.global_batch_size 12 is no multiple of the 5 processes"):
        data.train_dataloader()
    with pytest.raises(UsageError, match="global_batch_size must be at least 1, got 0"):
        ClipDataModule(strips, global_batch_size=0)
    data = ClipDataModule(strips, batch_size=5, **DATA)
    data.trainer = Standing(2)
    assert next(iter(data.train_dataloader()))["slot"].tolist() == list(range(5, 10))
