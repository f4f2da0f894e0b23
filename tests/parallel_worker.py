"""Trains one family for a few steps on one or two processes and saves what each process ends with.

Run by test_parallel.py and others as a program, because Lightning starts the second process by running it again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from helpers import GAMES, TINY, Clips, quiet_trainer
from lightning.pytorch import Callback

from vidiff.augment import AdaptiveAugment, DiffAugment
from vidiff.models import families
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.parallel import GameStrategy, rank


class Pids(Callback):
    """Says under which number each process runs, once it trains."""

    def __init__(self, out: str):
        self.out = out

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx == 0:
            Path(f"{self.out}.pid{rank()}").write_text(str(os.getpid()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    parser.add_argument("out")
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1, help="machines that share the processes, under torchrun")
    parser.add_argument("--norm", default="layer")
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--own", action="store_true", help="the family's own networks, conditional, clips of 8 frames")
    parser.add_argument("--augment", choices=["ada", "diffaugment"], help="in front of the discriminator")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--pids", action="store_true", help="write OUT.pid<rank> after the first batch")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # SGD, because Adam hides a wrong scale of the gradients.
    sgd = lambda p: torch.optim.SGD(p, lr=0.05)  # noqa: E731
    augment = {
        "ada": lambda: AdaptiveAugment(interval=1, clips=40, start=0.5),
        "diffaugment": lambda: DiffAugment(DiffAugment.POLICIES),
    }.get(args.augment, lambda: None)()
    sizes, game = {**TINY, "num_frames": 8, "num_classes": 2}, args.family in GAMES
    networks = dict(discriminator_augment=augment, optimizer_d=sgd) if game else {}
    if args.family == "MoCoGAN":
        networks["judge_noise"] = 0.0  # what networks draw inside is each process's own
    if not args.own:
        sizes = TINY
        networks["generator"] = lambda spec: ConvGenerator(spec, norm=args.norm)
        networks["discriminator"] = lambda spec: ConvDiscriminator(spec, norm=args.norm)
    model = families()[args.family](**networks, optimizer_g=sgd, **sizes).double()
    more = dict(devices=args.world // args.nodes, num_nodes=args.nodes, strategy=GameStrategy(args.patience))
    more = more if args.world > 1 else {}
    more |= dict(callbacks=[Pids(args.out)]) if args.pids else {}
    trainer = quiet_trainer(max_steps=args.steps, precision="64-true", sync_batchnorm=args.sync, **more)
    trainer.fit(model, Clips(8 // args.world, num_classes=sizes.get("num_classes"), num_frames=sizes["num_frames"]))
    torch.save(model.state_dict(), f"{args.out}.{rank()}")


if __name__ == "__main__":
    main()
