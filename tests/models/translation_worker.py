"""Trains CycleGAN for a few steps on one or two processes and saves what each process ends with.

Run by test_translation_parallel.py as a program, because Lightning starts the second process by running it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import quiet_trainer, worker_arguments
from lightning.pytorch import LightningDataModule

from vidiff import keyed
from vidiff.models.cyclegan import CycleGAN
from vidiff.nn.resnet import ResnetGenerator
from vidiff.parallel import GameStrategy, rank


class Pairs(LightningDataModule):
    """Noise clips of two domains that are a function of their slots; rank r owns rows rB.. of every global batch."""

    def __init__(self, batch_size: int):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        trainer, b = self.trainer, self.batch_size
        batches = []
        for index in range(20):
            first = (index * trainer.world_size + trainer.global_rank) * b
            slots = range(first, first + b)
            clips = {f"clip_{d}": keyed.normal(slots, (3, 4, 16, 16), d).clamp(-1, 1) for d in "ab"}
            batches.append({**clips, "slot": torch.tensor(list(slots))})
        return _Stream(batches)


class _Stream:
    """An iterable that Lightning does not take for several loaders."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def main() -> None:
    args = worker_arguments()
    # SGD, because Adam hides a wrong scale of the gradients.
    sgd = lambda p: torch.optim.SGD(p, lr=0.05)  # noqa: E731
    model = CycleGAN(
        generator=lambda spec: ResnetGenerator(spec, blocks=1),
        optimizer_g=sgd,
        optimizer_d=sgd,
        num_frames=4,
        resolution=16,
        width=4,
        pool_size=5,
    ).double()
    more = dict(devices=args.world, strategy=GameStrategy()) if args.world > 1 else {}
    trainer = quiet_trainer(max_steps=4, precision="64-true", **more)
    trainer.fit(model, Pairs(batch_size=4 // args.world))
    torch.save(model.state_dict(), f"{args.out}.{rank()}")


if __name__ == "__main__":
    main()
