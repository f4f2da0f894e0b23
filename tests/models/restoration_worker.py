"""Trains Restoration, or a family made from it, through both stages on one or two processes; saves how each ends.

Run by test_restoration.py as a program, because Lightning starts the second process by running it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import TINY, Clips, quiet_trainer, worker_arguments

from vidiff.models import families
from vidiff.parallel import GameStrategy, rank


def main() -> None:
    args = worker_arguments(family="Restoration")
    # SGD, because Adam hides a wrong scale of the gradients.
    sgd = lambda p: torch.optim.SGD(p, lr=0.05)  # noqa: E731
    stages = [{"steps": 2, "players": ["g"]}, {"players": ["g", "d"]}]
    model = families()[args.family](
        optimizer_g=sgd, optimizer_d=sgd, stages=stages, adversarial_weight=1.0, **TINY
    ).double()
    more = dict(devices=args.world, strategy=GameStrategy()) if args.world > 1 else {}
    trainer = quiet_trainer(max_steps=4, precision="64-true", **more)
    trainer.fit(model, Clips(4 // args.world))
    torch.save(model.state_dict(), f"{args.out}.{rank()}")


if __name__ == "__main__":
    main()
