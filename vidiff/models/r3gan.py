"""R3GAN on clips: the modern baseline, a regularized relativistic game between plain residual networks.

Huang, Gokaslan, Kuleshov, Tompkin 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2501.05441.

    D minimizes  E softplus(-(D(x) - D(G(z)))) + gamma/2 E |grad D(x)|^2 + gamma/2 E |grad D(G(z))|^2     (R1, R2)
    G minimizes  E softplus(-(D(G(z)) - D(x)))

Paper -> code: f(-t) = softplus(-t) on paired differences -> `relativistic_d`, `relativistic_g`; gamma ->
`r1_gamma`, falling along half a cosine to `r1_gamma_final` in `burn_in` batches; the learning rate, falling along
with it to `lr_final` times what it was; Adam with beta1 = 0 -> `optimizer_*`.
No normalization, fix-up initialization, grouped convolutions and a learned 4x4 basis: `vidiff.nn.r3`.
Deviations: 3-D convolutions; grids are joined by strided and transposed convolutions with an activation, not by
resampling and 1x1 convolutions, and at half the resolution there is nothing else, which makes an update cheaper and,
as far as a few hundred updates show, better; beta2 is constant; gamma is larger than the paper's at 32x32, as a clip
has more pixels; the learning rate begins at 2e-3, not 2e-4, for runs of hundreds of updates of 8 clips, and falls
further; D's last layer has a bias, which never learns, as only differences of logits count (the authors' code has
none).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.losses import relativistic_d, relativistic_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.strategies import Player
from vidiff.models.turn import Side, Terms, Turn
from vidiff.nn.r3 import R3Discriminator, R3Generator
from vidiff.optim import Adam
from vidiff.penalties import logits_and_penalty

ONE_IN = 4  # samples whose approximate penalty is taken


class R3GAN(AdversarialModule):
    """Relativistic pairing loss with R1 and R2 between residual networks without normalization.

    Args:
        generator, discriminator: network factories.
        optimizer_g, optimizer_d: Adam, beta1 0 and beta2 0.99 as in the paper, learning rate 2e-3.
        r1_gamma: gamma, weight of both penalties at the start.
        r1_gamma_final: gamma after `burn_in` batches.
        lr_final: factor of both learning rates after `burn_in` batches (0.25 in the paper).
        burn_in: batches over which gamma and the rates fall; 0 = their final values from the start.
        penalty: `exact` (the paper's), or `approximate`: differences of D's logits under noise, on one sample in four,
            cheaper and without a second derivative (Lin et al. 2025, 2501.08316); in small batches worse than none, see
            docs/results.md.
        penalty_sigma: standard deviation of that noise, in clips of [-1, 1].
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the discriminator mixes the clips of a batch.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: R3Generator(spec, blocks=2),
        discriminator: NetworkFactory = lambda spec: R3Discriminator(spec, blocks=2),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.0, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.0, beta2=0.99),
        r1_gamma: float = 10.0,
        r1_gamma_final: float = 1.0,
        lr_final: float = 0.1,
        burn_in: int = 1000,
        penalty: Literal["exact", "approximate"] = "exact",
        penalty_sigma: float = 0.03,
        **kwargs,
    ):
        super().__init__(
            generator=generator, discriminator=discriminator, optimizer_g=optimizer_g, optimizer_d=optimizer_d, **kwargs
        )
        if min(r1_gamma, r1_gamma_final, burn_in) < 0 or not 0 < lr_final <= 1:
            raise UsageError("R3GAN: r1_gamma, r1_gamma_final and burn_in must not be negative, lr_final in (0, 1]")
        if penalty not in ("exact", "approximate") or penalty_sigma <= 0:
            raise UsageError(
                f"R3GAN: penalty is exact or approximate, its sigma above 0, got {penalty}, {penalty_sigma}"
            )
        self.check_penalty()
        self.penalty, self.penalty_sigma = penalty, penalty_sigma
        self.r1_gamma, self.r1_gamma_final, self.lr_final, self.burn_in = r1_gamma, r1_gamma_final, lr_final, burn_in

    def burned_in(self, start: float, final: float) -> float:
        """final + (start - final) * 1/2 (1 + cos(pi * min(batches / burn_in, 1)))."""
        done = min(self.batches_seen / self.burn_in, 1.0) if self.burn_in else 1.0
        return final + (start - final) * 0.5 * (1.0 + math.cos(math.pi * done))

    def rate_factor(self, player: Player) -> float:
        """Of the schedule and strategies, times the burn-in's."""
        return super().rate_factor(player) * self.burned_in(1.0, self.lr_final)

    def discriminator_losses(self, turn: Turn) -> Terms:
        gamma = self.burned_in(self.r1_gamma, self.r1_gamma_final)
        real_logits, r1 = self._judged(turn, turn.real, "real")
        fake_logits, r2 = self._judged(turn, turn.fake(), "fake")
        return {"adv": relativistic_d(real_logits, fake_logits), "r1": gamma * r1, "r2": gamma * r2}

    def _judged(self, turn: Turn, clip: Tensor, side: Side) -> tuple[Tensor, Tensor]:
        """D's logits, and 1/2 E |grad D|^2."""
        if self.penalty == "exact":
            return turn.penalty(logits_and_penalty, partial(turn.judge, side=side), clip)
        return turn.approximate_penalty(clip, side, self.penalty_sigma, ONE_IN)

    def generator_losses(self, turn: Turn) -> Terms:
        fake_logits = turn.judge(turn.fake(), "fake")
        with torch.no_grad():
            real_logits = turn.judge(turn.real, "real")
        return {"adv": relativistic_g(real_logits, fake_logits)}
