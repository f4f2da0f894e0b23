"""DCGAN on clips.

Radford, Metz, Chintala 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", 1511.06434, with 3-D convolutions in the place of 2-D ones (as the one-stream generator of Vondrick et al.
2016, 1609.02612).

    D minimizes  E softplus(-D(x)) + E softplus(D(G(z)))
    G minimizes  E softplus(-D(G(z)))          (non-saturating, Goodfellow et al. 2014, 1406.2661)

Paper -> code: z -> `latents`, D before its sigmoid -> `Turn.judge` (logits), 64 base filters -> `width`.
Deviations: time axis; z is normal, not uniform; samples come from a moving average of G.
"""

from __future__ import annotations

from lightning.pytorch.cli import OptimizerCallable

from vidiff.losses import standard_d, standard_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Adam


class DCGAN(AdversarialModule):
    """Standard non-saturating game between two convolutional networks with BatchNorm.

    Args:
        generator, discriminator: network factories.
        optimizer_g, optimizer_d: the paper's Adam, learning rate 2e-4 and beta1 0.5.
        real_label: D's target for real clips; below 1 is one-sided label smoothing.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="batch"),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        real_label: float = 1.0,
        **kwargs,
    ):
        super().__init__(
            generator=generator, discriminator=discriminator, optimizer_g=optimizer_g, optimizer_d=optimizer_d, **kwargs
        )
        self.real_label = real_label

    def discriminator_losses(self, turn: Turn) -> Terms:
        real, fake = standard_d(turn.judge(turn.real, "real"), turn.judge(turn.fake(), "fake"), self.real_label)
        return {"real": real, "fake": fake}

    def generator_losses(self, turn: Turn) -> Terms:
        return {"adv": standard_g(turn.judge(turn.fake(), "fake"))}
