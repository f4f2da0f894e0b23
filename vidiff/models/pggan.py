"""Progressive growing, in space and in time.

Karras, Aila, Laine, Lehtinen 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation",
1710.10196; in time as well as in space after Acharya et al. 2018 (1810.02419).

    D minimizes  E softplus(-D(x)) + E softplus(D(G(z))) + gamma/2 E |grad D(x)|^2
    G minimizes  E softplus(-D(G(z)))

The game is the non-saturating one with R1 (Mescheder et al. 2018, 1801.04406), not the paper's WGAN-GP: one critic
update per generator update is enough, and the authors' later networks use it.
Paper -> code: alpha, the weight of the stage that fades in -> `position`; images shown per fade and per stabilization
-> `fade_clips`, `stable_clips`; equalized learning rate, pixel norm, minibatch standard deviation ->
`vidiff.nn.progressive`. Where it stands is a function of the clips seen, and is stored with the weights.
The minibatch standard deviation lets a clip's logit depend on its neighbours; R1 is taken through it, as the authors'
penalties are.
Deviations: time axis (a stage of half the frames is a video of half the frame rate: every second frame); one
convolution per stage instead of two; no drift term; the optimizers keep their moments when a stage begins, where the
authors' code resets those of both players; the first dense layer has the gain of the others, sqrt(2), where that code
has sqrt(2) / 4; the moving average is shorter than elsewhere (`ema_decay`), since new stages have to arrive in it; the
learning rate is 3e-3, not 1e-3: with equalized layers it is the share of a weight that a step can change, and a stage
here has hundreds of steps, not 40,000.
"""

from __future__ import annotations

from functools import partial
from typing import Sequence

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.progressive import GrowingDiscriminator, GrowingGenerator
from vidiff.optim import Adam
from vidiff.parallel import world_size
from vidiff.penalties import logits_and_penalty


class PGGAN(AdversarialModule):
    """Two networks that grow together, from 4x4 pixels and a few frames to the clip.

    Args:
        generator, discriminator: factories of growing networks.
        optimizer_g, optimizer_d: Adam, betas (0, 0.99) as in the paper, learning rate 3e-3.
        fade_clips: real clips shown while a stage fades in.
        stable_clips: real clips shown at each stage before the next one starts.
        r1_gamma: weight of the gradient penalty on real clips, at the size of the current stage.
        ema_decay: see `AdversarialModule`.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the discriminator has BatchNorm.
    """

    penalty_through = ("minibatch standard deviation",)

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: GrowingGenerator(spec),
        discriminator: NetworkFactory = lambda spec: GrowingDiscriminator(spec),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=3e-3, beta1=0.0, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=3e-3, beta1=0.0, beta2=0.99),
        fade_clips: int = 2000,
        stable_clips: int = 2000,
        r1_gamma: float = 1.0,
        ema_decay: float = 0.99,
        **kwargs,
    ):
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            ema_decay=ema_decay,
            **kwargs,
        )
        if fade_clips < 1 or stable_clips < 0:
            raise UsageError("PGGAN: fade_clips must be at least 1 and stable_clips at least 0")
        self.check_penalty()
        self.fade_clips, self.stable_clips, self.r1_gamma = fade_clips, stable_clips, r1_gamma

    def level(self, clips: int) -> float:
        """Where the networks stand after so many clips: s at stage s, s - 1 + alpha while stage s fades in."""
        period = self.stable_clips + self.fade_clips
        stage, rest = divmod(clips, period)
        return min(stage + max(0.0, (rest - self.stable_clips) / self.fade_clips), float(self.generator.last))

    def real_clips(self, clip: Tensor) -> Tensor:
        """Clips at the size of the current stage, faded like the generated ones."""
        stage, alpha = self.discriminator.position()
        clip = self.discriminator.at_stage(clip, stage)
        if alpha < 1.0:
            coarse = self.discriminator.enlarge(self.discriminator.reduce(clip, stage), stage)
            clip = torch.lerp(coarse, clip, alpha)
        return clip

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        level = self.level(self.batches_seen * len(batch["clip"]) * world_size())
        for network in self.players.values():
            network.level.fill_(level)
        self.terms["train/level"] = torch.tensor(level)

    def discriminator_losses(self, turn: Turn) -> Terms:
        critic = partial(turn.judge, side="real")
        real_logits, r1 = turn.penalty(logits_and_penalty, critic, self.real_clips(turn.real))
        real, fake = standard_d(real_logits, turn.judge(turn.fake(), "fake"))
        return {"real": real, "fake": fake, "r1": self.r1_gamma * r1}

    def generator_losses(self, turn: Turn) -> Terms:
        return {"adv": standard_g(turn.judge(turn.fake(), "fake"))}

    def generate(self, ids: Sequence[int], *args, stage: int | None = None, ema: bool = True, **kwargs) -> Tensor:
        """As in the base class; `stage` shows what an earlier stage would make (0 = 4x4), enlarged to full size."""
        network = self.generator_ema.module if ema else self.generator
        if stage is None:
            return super().generate(ids, *args, ema=ema, **kwargs)
        if not 0 <= stage <= network.last:
            raise UsageError(f"stage must be from 0 to {network.last}, got {stage}")
        level = network.level.clone()
        network.level.fill_(stage)
        try:
            return super().generate(ids, *args, ema=ema, **kwargs)
        finally:
            network.level.copy_(level)
