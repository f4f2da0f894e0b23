"""Loss-sensitive GAN on clips; least squares, which shares its abbreviation, is `LSGAN`.

Qi 2017, "Loss-Sensitive Generative Adversarial Networks on Lipschitz Densities", 1701.06264.

    D minimizes  E max(0, lambda |x - G(z)|_1 / s + L(x) - L(G(z))) + gamma/2 E |grad L(x)|^2
    G minimizes  E L(G(z))

L is a learned loss, small for real clips; a generated clip has to lose by a margin that grows with its distance to
the real clip it is paired with, so that what is already close is left alone.
Paper -> code: L -> -`Turn.judge` (logits, so that large means real as everywhere here), Delta -> `margin` times the
mean absolute difference, the gradient penalty of section 6 -> `r1_gamma`.
s (`spread`) is ours: how far real clips are from their mean. Without it lambda has to be found anew for every data set:
a small shape on black is so close to an empty clip that lambda = 10 asked for next to nothing, and G stayed black.
The paper adds E L(x) to D's objective; it has no lower bound (a constant can be subtracted from L for ever) and the
author's code leaves it out: the code is followed.
In the penalty the paper is followed, zero-centred and on real clips. The author's code with a penalty has another: of
slope 1 between pairs of points, with weight 10.
Other deviations: time axis; the L1 distance is a mean, not a sum, over the clip; layer norm in the critic, because the
penalty is per clip; samples come from a moving average of G.
"""

from __future__ import annotations

from functools import partial

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.losses import loss_sensitive_d, wasserstein_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Adam
from vidiff.parallel import sum_over_processes
from vidiff.penalties import logits_and_penalty


def spread(clips: Tensor) -> Tensor:
    """Mean absolute difference of clips (B, C, T, H, W) to their mean, over all processes; at least 0.01."""
    number = sum_over_processes(torch.tensor(float(len(clips)), device=clips.device))
    mean = sum_over_processes(clips.sum(0)) / number
    return (sum_over_processes((clips - mean).abs().flatten(1).mean(1).sum()) / number).clamp(min=0.01)


class LossSensitiveGAN(AdversarialModule):
    """Margin game: a generated clip has to lose against its real partner in proportion to their distance.

    Args:
        generator, discriminator: network factories; the critic may not mix clips (BatchNorm, `minibatch_std`) while
            `r1_gamma` is positive.
        optimizer_g, optimizer_d: the author's Adam, learning rate 2e-4 and beta1 0.5.
        margin: lambda, weight of the distance in the margin; 1 = as far as a real clip is from the mean one.
        r1_gamma: weight of the penalty on the loss function's gradient.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the critic mixes the clips of a batch and `r1_gamma` is positive.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="layer"),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        margin: float = 4.0,
        r1_gamma: float = 1.0,
        **kwargs,
    ):
        super().__init__(
            generator=generator, discriminator=discriminator, optimizer_g=optimizer_g, optimizer_d=optimizer_d, **kwargs
        )
        if r1_gamma:
            self.check_penalty()
        self.margin, self.r1_gamma = margin, r1_gamma

    def discriminator_losses(self, turn: Turn) -> Terms:
        real, fake, terms = turn.real, turn.fake(), {}
        if self.r1_gamma:
            real_logits, r1 = turn.penalty(logits_and_penalty, partial(turn.judge, side="real"), real)
            terms["r1"] = self.r1_gamma * r1
        else:
            real_logits = turn.judge(real, "real")
        fake_logits = turn.judge(fake, "fake")
        margin = self.margin * (real - fake).abs().flatten(1).mean(1) / spread(turn.whole.real)
        return {"margin": loss_sensitive_d(-real_logits, -fake_logits, margin), **terms}

    def generator_losses(self, turn: Turn) -> Terms:
        return {"adv": wasserstein_g(turn.judge(turn.fake(), "fake"))}
