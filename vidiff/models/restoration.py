"""Restoration of damaged clips in two stages of one run: pixels first, then a relativistic game at a small weight.

As one-step restorers are trained (Wang et al. 2025, "SeedVR2: One-Step Video Restoration via Diffusion Adversarial
Post-Training", 2506.05301), with a small convolutional network in the place of a diffusion transformer. y is a damaged
clip, x what it was, G(y) = y + f(y), phi_l the features of layer l of D, stop-gradient on phi_l(x):

    G minimizes  lambda E |G(y) - x|_1                                                  pixels (or squared: `mse`)
                   + pi mean_l E |f_l(G(y)) - f_l(x)|^2                                  frozen features, if any
                   + alpha E softplus(-(D(G(y)) - D(x)))                                second stage: relativistic
                   + eta mean_l E |phi_l(G(y)) - phi_l(x)|_1                            second stage: features of D
    D minimizes  E softplus(-(D(x) - D(G(y)))) + gamma/2 E |grad D(x)|^2 + gamma/2 E |grad D(G(y))|^2

The first stage trains G alone (`stages`); D is asked once it trains. In the second G's rate is `adversarial_rate` times
the first stage's. In each stage both rates fall along half a cosine to `lr_final`.

Paper -> code: relativistic pairing with R1 and R2 -> `relativistic_*`, `gamma`; feature matching -> `feature_weight`.
Deviations: no diffusion model is distilled; R1 and R2 are exact, not approximated by noise; D sees patches of clips;
feature matching is L1 over all activations, each divided by its mean absolute value for x, so that no layer rules;
the damage y is made from x on the device, see `vidiff.augment.degrade`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff.augment.degrade import (
    Blur,
    Degradation,
    DroppedFrames,
    GaussianNoise,
    Jpeg,
    LowResolution,
    MissingBlocks,
    OneOf,
    PoissonNoise,
    Scratches,
    degrade,
)
from vidiff.clip import signed_to_unit, unit_to_signed
from vidiff.consistency import feature_distance
from vidiff.errors import UsageError, at_least
from vidiff.losses import relativistic_d, relativistic_g
from vidiff.models.base import NetworkFactory
from vidiff.models.restorer import Restorer
from vidiff.models.strategies import Player
from vidiff.models.turn import Side, Terms, Turn
from vidiff.nn.perceptual import FeatureMaps, FeatureNetwork, feature_maps
from vidiff.nn.restorer import FeaturePatchDiscriminator, ResidualRestorer
from vidiff.optim import Adam
from vidiff.parallel import sum_over_processes, world_size
from vidiff.penalties import logits_and_penalty


def any_damage() -> list[Degradation]:
    """One of all kinds of damage a clip."""
    noise, light = GaussianNoise((5.0, 50.0)), PoissonNoise()
    size = [LowResolution(2), LowResolution(4)]
    return [OneOf([noise, light, Blur(), Jpeg(), Scratches(), MissingBlocks(), DroppedFrames(), *size])]


class Restoration(Restorer):
    """A residual restorer and a patch critic; the batch holds clean clips, their damage is made on the device.

    Args:
        generator, discriminator: network factories; the second gives (logits, list of feature maps).
        optimizer_g, optimizer_d: Adam, learning rates 2e-3 and 1e-3.
        degradations: what happens to every clip, in order; None: one of all kinds.
        pixel_loss: `l1` or `mse`.
        pixel_weight, perceptual_weight, adversarial_weight, feature_weight: lambda, pi, alpha and eta.
        perceptual: whose features: `lite0`, `vgg16` or `vgg16_hed`, see `vidiff.nn.perceptual.feature_maps`.
        gamma: weight of R1 and R2; 0 = none.
        conditional: D sees the damaged clip beside the other.
        adversarial_rate: factor of G's learning rate while D trains.
        lr_final: factor of both rates at the end of each stage whose end is known.
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: a number or a combination that cannot work.
    """

    real_above = None

    def __init__(
        self,
        generator: NetworkFactory = lambda spec: ResidualRestorer(spec),
        discriminator: NetworkFactory = lambda spec: FeaturePatchDiscriminator(spec),
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=2e-3, beta1=0.9, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=1e-3, beta1=0.0, beta2=0.99),
        degradations: list[Degradation] | None = None,
        pixel_loss: Literal["l1", "mse"] = "l1",
        pixel_weight: float = 1.0,
        perceptual_weight: float = 0.0,
        perceptual: FeatureNetwork = "lite0",
        adversarial_weight: float = 0.01,
        feature_weight: float = 0.02,
        gamma: float = 1.0,
        conditional: bool = False,
        adversarial_rate: float = 0.25,
        lr_final: float = 0.02,
        **kwargs,
    ):
        seen = (lambda spec: discriminator(replace(spec, channels=2 * spec.channels))) if conditional else discriminator
        super().__init__(
            generator=generator, discriminator=seen, optimizer_g=optimizer_g, optimizer_d=optimizer_d, **kwargs
        )
        at_least(0, **{"model.gamma": gamma, "model.adversarial_rate": adversarial_rate, "model.lr_final": lr_final})
        if conditional and self.discriminator_augment is not None:
            raise UsageError("model.conditional: the two clips that D sees would be augmented apart; leave one of both")
        if gamma:
            self.check_penalty()
        self.set_degradations(self.usual_damage() if degradations is None else degradations)
        self.pixel_loss, self.pixel_weight, self.gamma, self.conditional = pixel_loss, pixel_weight, gamma, conditional
        self.perceptual, self.perceptual_weight = perceptual, perceptual_weight
        self.adversarial_weight, self.feature_weight = adversarial_weight, feature_weight
        self.adversarial_rate, self.lr_final = adversarial_rate, lr_final
        more = ["perceptual"] * bool(perceptual_weight)
        self.strategies.declare_terms("g", ["pixel", *more, "adv", "features"])

    def usual_damage(self) -> list[Degradation]:
        """What happens to clips where nothing is named."""
        return any_damage()

    # Built when first needed, so that a checkpoint restores where the weights of features are missing.
    @cached_property
    def maps_of(self) -> FeatureMaps:
        return feature_maps(self.perceptual)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        _ = stage == "fit" and self.perceptual_weight and self.maps_of

    @property
    def of_the_batch(self) -> list[str]:
        return ["model.feature_weight 0"] if self.feature_weight else []

    @property
    def plays(self) -> bool:
        """Whether D trains at present, so that G has somebody to convince."""
        return self._trainer is None or self.strategies.trains("d", self.trainer.global_step)

    def rate_factor(self, player: Player) -> float:
        """Of the schedule and strategies, times half a cosine within the stage, times the second stage's for G."""
        step, begin = self.trainer.global_step, 0
        end: int | None = None
        for stage in self.strategies.stages[:-1]:
            end = begin + stage["steps"]
            if step < end:
                break
            begin, end = end, None
        end = end or self.strategies.schedule.total_steps
        done = min((step - begin) / (end - begin), 1.0) if end and end > begin else 0.0
        falling = self.lr_final + (1.0 - self.lr_final) * 0.5 * (1.0 + math.cos(math.pi * done))
        late = self.adversarial_rate if player == "g" and self.plays and self.strategies.stages else 1.0
        return super().rate_factor(player) * falling * late

    def damaged(self, turn: Turn) -> Tensor:
        """The batch's clips as they are to be restored (B, C, T, H, W) in [-1, 1]; both players get the same."""
        if "clip_degraded" not in turn.batch:
            damaged = degrade(signed_to_unit(turn.real), self.degradations, turn.slots, self.seed, "degrade")
            turn.batch["clip_degraded"] = unit_to_signed(damaged).to(turn.real)
        return turn.batch["clip_degraded"]

    def fake_clips(self, turn: Turn) -> Tensor:
        return self.generator(self.damaged(turn))

    def _judge(self, turn: Turn, clip: Tensor, side: Side) -> Tensor:
        by: Callable[[Tensor], tuple] | None = None
        if self.conditional:
            by = lambda x: self.discriminate(torch.cat([x, self.damaged(turn).to(x)], 1), None)  # noqa: E731
        return turn.judge(clip, side, by)

    def discriminator_losses(self, turn: Turn) -> Terms:
        x, fake = turn.real, turn.fake()
        judge_real, judge_fake = (partial(self._judge, turn, side=side) for side in ("real", "fake"))
        if not self.gamma:
            return {"adv": relativistic_d(judge_real(x), judge_fake(fake))}
        real_logits, r1 = turn.penalty(logits_and_penalty, judge_real, x)
        fake_logits, r2 = turn.penalty(logits_and_penalty, judge_fake, fake)
        return {"adv": relativistic_d(real_logits, fake_logits), "r1": self.gamma * r1, "r2": self.gamma * r2}

    def generator_losses(self, turn: Turn) -> Terms:
        x, fake = turn.real, turn.fake()
        terms = {"pixel": self.pixel_weight * self.distance(fake, x, self.pixel_loss)}
        if self.perceptual_weight:
            terms["perceptual"] = self.perceptual_weight * feature_distance(self.maps_of(fake), self.maps_of(x))
        if self.plays:
            fake_logits = self._judge(turn, fake, "fake")
            with torch.no_grad():
                real_logits = self._judge(turn, x, "real")
            maps = zip(turn.predictions["fake"], turn.predictions["real"], strict=True)
            apart = [(a - b).abs().mean() / self._everywhere(b.abs().mean()).clamp_min(1e-6) for a, b in maps]
            terms["adv"] = self.adversarial_weight * relativistic_g(real_logits, fake_logits)
            terms["features"] = self.feature_weight * torch.stack(apart).mean()
        return terms

    @staticmethod
    def _everywhere(mean: Tensor) -> Tensor:
        """Of the batches of all processes: a ratio of means is no mean of their ratios."""
        return sum_over_processes(mean) / world_size()

    def real_logits(self, turn: Turn) -> Tensor:
        return self._judge(turn, turn.real, "real")
