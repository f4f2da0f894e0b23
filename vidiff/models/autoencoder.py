"""A 3-D autoencoder with a patch judge: the tokenizer in whose latents other models work.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", 2112.10752, and Esser, Rombach,
Ommer 2021, "Taming Transformers for High-Resolution Image Synthesis", 2012.09841, for clips, as video models have it.
G is decoder after encoder, x a clip, n noise on the latents:

    G minimizes  pixel + perceptual + w (adv + features)      as `Restoration`, from the step at which D begins
    D minimizes  as `Restoration`
    w = |grad_L pixel| / |grad_L (adv + features)|            L the last convolution of the decoder; at most 10,000

Paper -> code: lambda, equation 7 of 2012.09841 -> `adaptive`; the step at which the judge begins -> `stages`.
Deviations: the game is relativistic with R1 and R2, the published one has hinge losses (there `perceptual` is LPIPS);
latents are on a sphere with a little noise in training, not Gaussian with a small KL term; the gradients of w are those
of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff import keyed
from vidiff.augment.degrade import Degradation, check_degradations
from vidiff.errors import UsageError, at_least
from vidiff.models.base import NetworkFactory
from vidiff.models.restoration import Restoration
from vidiff.models.turn import Terms, Turn
from vidiff.nn.autoencoder import ClipAutoencoder
from vidiff.nn.restorer import FeaturePatchDiscriminator
from vidiff.optim import Adam
from vidiff.parallel import sum_over_processes, world_size

LARGEST = 1e4  # that w may be, as published


class Autoencoder(Restoration):
    """Clips through latents and back: nothing is damaged unless asked for, but all must pass through few numbers.

    Args:
        generator: network factory; gives something with `encode`, `decode`, `latent_shape` and `last`, as
            `ClipAutoencoder` does.
        discriminator: network factory; gives (logits, list of feature maps).
        optimizer_g, optimizer_d: Adam, learning rates 1e-3 and 1e-3.
        pixel_loss: `l1` or `mse`.
        latent_noise: standard deviation of the noise on latents while training; they have mean square 1.
        adversarial_weight, feature_weight: of both terms of the judge, times w where `adaptive`.
        adaptive: w is measured each step; else it is 1.
        kwargs: see `Restoration`.

    Raises:
        UsageError: a number or a combination that cannot work.
    """

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ClipAutoencoder(spec),
        discriminator: NetworkFactory = lambda spec: FeaturePatchDiscriminator(spec),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=1e-3, beta1=0.9, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=1e-3, beta1=0.0, beta2=0.99),
        pixel_loss: Literal["l1", "mse"] = "mse",
        latent_noise: float = 0.05,
        adversarial_weight: float = 0.1,
        feature_weight: float = 0.0,
        adaptive: bool = True,
        **kwargs,
    ):
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            pixel_loss=pixel_loss,
            adversarial_weight=adversarial_weight,
            feature_weight=feature_weight,
            **kwargs,
        )
        at_least(0, **{"model.latent_noise": latent_noise})
        if not hasattr(self.generator, "latent_shape"):
            raise UsageError(f"model.generator: {type(self.generator).__name__} has no latents; use ClipAutoencoder")
        self.latent_noise, self.adaptive = latent_noise, adaptive

    @property
    def of_the_batch(self) -> list[str]:
        return super().of_the_batch + ["model.adaptive false"] * self.adaptive

    def usual_damage(self) -> list[Degradation]:
        return []

    def set_degradations(self, operators: Iterable[Degradation]) -> None:
        """Keep what happens to the clips; nothing, unless it shall learn to encode damaged clips as clean ones."""
        self.degradations = check_degradations(given, "model.degradations") if (given := list(operators)) else []

    def damaged(self, turn: Turn) -> Tensor:
        return super().damaged(turn) if self.degradations else turn.real

    def fake_clips(self, turn: Turn) -> Tensor:
        x, noise = self.damaged(turn), None
        if self.latent_noise:
            shape = self.generator.latent_shape(*x.shape[2:])
            noise = self.latent_noise * keyed.normal(turn.slots, shape, self.seed, "latent", *turn.draw).to(x)
        return self.generator(x, noise=noise)

    def generator_losses(self, turn: Turn) -> Terms:
        terms = super().generator_losses(turn)
        if not self.plays or not self.adaptive:
            return terms
        w = self._weight(terms["pixel"], terms["adv"] + terms["features"])
        turn.note(adaptive_weight=w)
        return terms | {name: w * terms[name] for name in ("adv", "features")}

    def _weight(self, pixel: Tensor, judged: Tensor) -> Tensor:
        """w, of the gradients of the whole batch."""
        last = self.generator.last
        if not last.requires_grad or not judged.requires_grad:  # nobody trains: a loss is only looked at
            return pixel.new_ones(())
        gradients = [torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in (pixel, judged)]
        wanted, given = (sum_over_processes(g / world_size()).norm() for g in gradients)
        return (wanted / (given + 1e-8)).clamp(max=LARGEST).detach()

    @torch.no_grad()
    def encode(self, clip: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) in [-1, 1] -> latents (B, c, T / 4, H / 4, W / 4) by the moving average."""
        return self.generator_ema.module.encode(clip)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> clips in [-1, 1] by the moving average."""
        return self.generator_ema.module.decode(latents).clamp(-1.0, 1.0)
