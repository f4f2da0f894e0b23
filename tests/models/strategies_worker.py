"""Trains DCGAN with every strategy on one or two processes and saves what each process ends with.

Run by test_strategies.py as a program, because Lightning starts the second process by running it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import TINY, Clips, quiet_trainer, worker_arguments

from vidiff.models.dcgan import DCGAN
from vidiff.models.strategies import Balance
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.ensemble import DiscriminatorEnsemble, GeneratorEnsemble
from vidiff.optim import Plateau
from vidiff.parallel import GameStrategy, rank


class Evaluated(Callback):
    def on_train_batch_end(self, trainer, module, *_):
        module.after_evaluation(
            {"val/clip_distance": {1: 2.0, 2: 3.0}.get(trainer.global_step, 1.0 / trainer.global_step)}
        )


def main() -> None:
    args = worker_arguments()
    sgd = lambda p: torch.optim.SGD(p, lr=0.05)  # noqa: E731
    model = DCGAN(
        generator=lambda spec: GeneratorEnsemble(spec, count=2),
        discriminator=lambda spec: DiscriminatorEnsemble(spec, lambda s: ConvDiscriminator(s, norm="layer"), count=2),
        optimizer_g=sgd,
        optimizer_d=sgd,
        stages=[{"steps": 2, "weights": {"d_fake": 0.5}}, {"steps": 1, "players": ["d"]}, {}],
        term_weights={"adv": 2.0},
        plateau=Plateau(patience=1),
        balance=Balance(target=0.3, tolerance=0.05, interval=2),
        **TINY,
    ).double()
    more = dict(devices=args.world, strategy=GameStrategy()) if args.world > 1 else {}
    trainer = quiet_trainer(max_steps=5, precision="64-true", sync_batchnorm=True, callbacks=[Evaluated()], **more)
    trainer.fit(model, Clips(8 // args.world))
    torch.save({"state": model.state_dict(), "strategies": model.strategies.state_dict()}, f"{args.out}.{rank()}")


if __name__ == "__main__":
    main()
