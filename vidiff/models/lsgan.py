"""LSGAN on clips: least squares instead of cross-entropy.

Mao, Li, Xie, Lau, Wang, Smolley 2017, "Least Squares Generative Adversarial Networks", 1611.04076, equation 2 with
the 0-1 coding of equation 9.

    D minimizes  1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2
    G minimizes  1/2 E (D(G(z)) - c)^2 [+ weights * E |Laplacian of G(z)|^2 in space and in time]

Paper -> code: a, b, c = 0, 1, 1 -> `fake_target`, `real_target`, `generator_target`; (-1, 1, 0) gives the Pearson
chi-square form of equation 8. BatchNorm in both networks, as in the paper.
The Laplacian terms are not the paper's and are off by default: second differences of the generated clip, squared, so
that the effect of smoothness is one weight (`laplacian_space`, `laplacian_time`).
Deviations: time axis; samples come from a moving average of G; learning rate 2e-4 as for DCGAN, so that the two
differ in the loss alone.
"""

from __future__ import annotations

from lightning.pytorch.cli import OptimizerCallable

from vidiff.consistency import laplacian
from vidiff.losses import least_squares_d, least_squares_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Adam


class LSGAN(AdversarialModule):
    """Least-squares game between two convolutional networks with BatchNorm.

    Args:
        generator, discriminator: network factories.
        optimizer_g, optimizer_d: Adam, learning rate 2e-4 and beta1 0.5.
        fake_target, real_target, generator_target: the paper's a, b and c.
        laplacian_space, laplacian_time: weights of the generator's roughness, see `vidiff.consistency.laplacian`.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="batch"),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=2e-4, beta1=0.5, beta2=0.999),
        fake_target: float = 0.0,
        real_target: float = 1.0,
        generator_target: float = 1.0,
        laplacian_space: float = 0.0,
        laplacian_time: float = 0.0,
        **kwargs,
    ):
        super().__init__(
            generator=generator, discriminator=discriminator, optimizer_g=optimizer_g, optimizer_d=optimizer_d, **kwargs
        )
        self.fake_target, self.real_target, self.generator_target = fake_target, real_target, generator_target
        self.real_above = 0.5 * (fake_target + real_target)
        self.laplacian = {"space": laplacian_space, "time": laplacian_time}

    def discriminator_losses(self, turn: Turn) -> Terms:
        real_logits, fake_logits = turn.judge(turn.real, "real"), turn.judge(turn.fake(), "fake")
        real, fake = least_squares_d(real_logits, fake_logits, self.fake_target, self.real_target)
        return {"real": real, "fake": fake}

    def generator_losses(self, turn: Turn) -> Terms:
        fake = turn.fake()
        terms = {"adv": least_squares_g(turn.judge(fake, "fake"), self.generator_target)}
        return terms | {f"laplacian_{a}": w * laplacian(fake, a) for a, w in self.laplacian.items() if w}
