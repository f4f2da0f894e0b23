"""WGAN with gradient penalty on clips.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, "Improved Training of Wasserstein GANs", 1704.00028, algorithm 1.

    D minimizes  E D(G(z)) - E D(x) + lambda E (|grad D(x_hat)|_2 - 1)^2,   x_hat = eps x + (1 - eps) G(z)
    G minimizes  -E D(G(z))

Paper -> code: lambda = 10 -> `gp_weight`, n_critic = 5 -> `n_critic`, Adam (1e-4, 0, 0.9) -> `optimizer_*`,
eps ~ U[0, 1] per clip -> `Turn.uniform`. The penalty is per clip, so a critic with BatchNorm is refused; the critic
has layer norm, as the paper recommends, and the generator BatchNorm.
Deviations: time axis; one data batch per critic update; samples come from a moving average of G.
"""

from __future__ import annotations

from functools import partial

from lightning.pytorch.cli import OptimizerCallable

from vidiff.losses import wasserstein_d, wasserstein_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Terms, Turn
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Adam
from vidiff.penalties import gradient_penalty


class WGANGP(AdversarialModule):
    """Wasserstein game, Lipschitz by a penalty on the critic's gradient.

    Args:
        generator, discriminator: network factories; the critic may not mix clips (BatchNorm, `minibatch_std`).
        optimizer_g, optimizer_d: the paper's Adam, learning rate 1e-4 and betas (0, 0.9).
        n_critic: critic updates per generator update.
        gp_weight: lambda, weight of the penalty.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: the critic mixes the clips of a batch.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="layer"),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=1e-4, beta1=0.0, beta2=0.9),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=1e-4, beta1=0.0, beta2=0.9),
        n_critic: int = 5,
        gp_weight: float = 10.0,
        **kwargs,
    ):
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            n_critic=n_critic,
            **kwargs,
        )
        self.check_penalty()
        self.gp_weight = gp_weight

    def discriminator_losses(self, turn: Turn) -> Terms:
        fake_clips = turn.fake()
        real, fake = wasserstein_d(turn.judge(turn.real, "real"), turn.judge(fake_clips, "fake"))
        critic = partial(turn.judge, side="mixed")
        gp = turn.penalty(gradient_penalty, critic, turn.real, fake_clips, turn.uniform("mix"))
        return {"real": real, "fake": fake, "gp": self.gp_weight * gp}

    def generator_losses(self, turn: Turn) -> Terms:
        return {"adv": wasserstein_g(turn.judge(turn.fake(), "fake"))}
