"""WGAN with weight clipping on clips.

Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", 1701.07875, algorithm 1.

    D (the critic f_w) minimizes  E D(G(z)) - E D(x),   then every weight is clamped to [-c, c]
    G (g_theta)        minimizes  -E D(G(z))

Paper -> code: c = 0.01 -> `weight_clip`, n_critic = 5 -> `n_critic`, alpha = 5e-5 with RMSProp -> `optimizer_*`,
f_w -> `Turn.judge`. Minus the sum of D's terms estimates the Wasserstein-1 distance up to a factor.
Deviations: time axis; one data batch per critic update; samples come from a moving average of G. BatchNorm in both
networks, as in the paper's DCGAN; its scales are clamped like every other weight, as in the authors' code, which
makes the critic's logits small.
"""

from __future__ import annotations

from lightning.pytorch.cli import OptimizerCallable
from torch.optim import RMSprop

from vidiff.errors import UsageError
from vidiff.losses import wasserstein_d, wasserstein_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.strategies import Player
from vidiff.models.turn import Terms, Turn
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.penalties import clip_weights_


class WGAN(AdversarialModule):
    """Wasserstein game, Lipschitz by weight clipping.

    Args:
        generator, discriminator: network factories.
        optimizer_g, optimizer_d: the paper's RMSProp, learning rate 5e-5.
        n_critic: critic updates per generator update.
        weight_clip: bound c on every parameter of the critic.
        kwargs: sizes and the step, see `AdversarialModule`.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="batch"),
        optimizer_g: OptimizerCallable = lambda p: RMSprop(p, lr=5e-5),
        optimizer_d: OptimizerCallable = lambda p: RMSprop(p, lr=5e-5),
        n_critic: int = 5,
        weight_clip: float = 0.01,
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
        if weight_clip <= 0:
            raise UsageError(f"model.weight_clip must be positive, got {weight_clip}")
        self.weight_clip = weight_clip

    def discriminator_losses(self, turn: Turn) -> Terms:
        real, fake = wasserstein_d(turn.judge(turn.real, "real"), turn.judge(turn.fake(), "fake"))
        return {"real": real, "fake": fake}

    def generator_losses(self, turn: Turn) -> Terms:
        return {"adv": wasserstein_g(turn.judge(turn.fake(), "fake"))}

    def after_update(self, player: Player) -> None:
        if player == "d":
            clip_weights_(self.discriminator, self.weight_clip)
