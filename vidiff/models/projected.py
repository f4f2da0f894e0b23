"""Projected GAN on clips: D looks at the maps of a frozen network that knows images, in space and in time.

Sauer, Chitta, Müller, Geiger 2021, "Projected GANs Converge Faster", 2111.01007.

    D minimizes  sum_k E max(0, 1 - D_k(x)) + E max(0, 1 + D_k(G(z)))
    G minimizes  -sum_k E D_k(G(z))

Paper -> code: F, the frozen EfficientNet-Lite0 -> `features`; its random mixing over channels (CCM) and scales (CSM)
-> `vidiff.nn.projected.Projector`; D_l -> `space`, one a scale. `time` are as many more, which see the maps of a
frame and their change to the next; `pixels` is a judge of the whole clip, for color and long motion, which the
network's maps do not hold. E is over clips, pairs of frames and places of a map.
Differentiable augmentation stands before all judges, where `discriminator_augment` names one, and before that a blur
that fades (as in the authors' code and in StyleGAN-XL: Sauer et al. 2022, 2202.00273).
Deviations: pairs of adjacent frames and their differences; three scales of shallower stages at the clip's own size, not
four at 224x224; maps are standardized by fixed numbers and no judge has BatchNorm, so that a clip's logits are its own;
the mixing has no bias; the judge of pixels; DCGAN's generator in the place of FastGAN's.

A model is not to be measured by what it was trained against: `fd_lite0` and `kd_lite0` are marked in its report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.losses import hinge_d, hinge_g
from vidiff.models.base import AdversarialModule, NetworkFactory
from vidiff.models.turn import Side, Terms, Turn
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.projected import Features, ProjectedDiscriminator, blurring
from vidiff.optim import Adam

SHARP = 0.1  # pixels; the neighbors of a pixel weigh e^-50 in a blur of that sigma


class ProjectedGAN(AdversarialModule):
    """Hinge game with judges of frozen features beside one of pixels.

    Args:
        features: `imagenet`: EfficientNet-Lite0, which the extra `offline` installs; `random`: its layers with random
            weights; `none`: pixels alone.
        time_heads: whether features are judged in time too.
        pairs: pairs of adjacent frames that the network sees of a clip, one from each of so many parts of it.
        taps, enlarge: see `ProjectedDiscriminator`.
        blur: standard deviation of the blur at the start, in pixels; 0 = none.
        blur_batches: batches until it has faded.
        generator: network factory.
        discriminator: network factory; None = a `ProjectedDiscriminator` of these settings.
        optimizer_g, optimizer_d: Adam, beta1 0 and beta2 0.99 as in the paper's code, learning rate 8e-4 (there 2e-4).
        kwargs: sizes and the step, see `AdversarialModule`.

    Raises:
        UsageError: an argument is out of range.
        WeightsMissing: when a training begins, the network or its weights are not installed.
    """

    def __init__(
        self,
        features: Features = "imagenet",
        time_heads: bool = True,
        pairs: int = 2,
        taps: Sequence[int] = (0, 1, 2),
        enlarge: int | None = None,
        blur: float = 1.0,
        blur_batches: int = 200,
        generator: NetworkFactory = lambda spec: ConvGenerator(spec, norm="batch"),
        discriminator: NetworkFactory | None = None,
        optimizer_g: OptimizerCallable = lambda p: Adam(p, lr=8e-4, beta1=0.0, beta2=0.99),
        optimizer_d: OptimizerCallable = lambda p: Adam(p, lr=8e-4, beta1=0.0, beta2=0.99),
        **kwargs,
    ):
        if features not in ("imagenet", "random", "none"):
            raise UsageError(f"model.features must be imagenet, random or none, got {features!r}")
        if min(blur, blur_batches) < 0:
            raise UsageError(f"model.blur and model.blur_batches must not be negative, got {blur} and {blur_batches}")
        looks = dict(features=features, time_heads=time_heads, pairs=pairs, taps=taps, enlarge=enlarge)
        super().__init__(
            generator=generator,
            discriminator=discriminator or (lambda spec: ProjectedDiscriminator(spec, **looks, seed=self.seed)),
            optimizer_g=optimizer_g,
            optimizer_d=optimizer_d,
            **kwargs,
        )
        self.blur, self.blur_batches = blur, blur_batches

    def setup(self, stage: str) -> None:
        projector = getattr(self.discriminator, "projector", None)
        if stage == "fit" and projector is not None:
            _ = projector.maps.network  # what is missing is said before any data is read
        super().setup(stage)

    @property
    def sigma(self) -> float:
        """Of the present blur, in pixels."""
        left = 1.0 - self.batches_seen / self.blur_batches if self.blur_batches else 0.0
        return self.blur * max(left, 0.0)

    def blurred(self, clip: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) as they are before augmentation."""
        if (sigma := self.sigma) <= SHARP:
            return clip
        height, width = (blurring(n, sigma).to(clip) for n in clip.shape[-2:])
        return height @ clip @ width.T

    def starts(self, turn: Turn, side: Side) -> Tensor:
        """First frames of the pairs that D looks at, int64 (B, P), each row a function of (seed, slot)."""
        pairs, last = self.discriminator.pairs, self.spec.num_frames - 1
        ends = [last * p // pairs for p in range(pairs + 1)]  # of the parts of a clip
        key = self.seed, "pair", side, turn.player, turn.move
        drawn = [a + keyed.integers(turn.slots, b - a, *key, p) for p, (a, b) in enumerate(zip(ends, ends[1:]))]
        return torch.stack(drawn, dim=1).to(self.device)

    def looking_at(self, turn: Turn, side: Side) -> Callable[[Tensor], tuple[Tensor, tuple[Tensor, ...]]]:
        """D of the pairs of a turn: clips (B, C, T, H, W) -> logits and the answers of its judges."""
        return lambda clip: self.discriminator(clip, turn.label, self.starts(turn, side))

    def answers(self, turn: Turn, clip: Tensor, side: Side) -> list[tuple[str, Tensor]]:
        """The logits of each judge for clips of one side, by its name."""
        turn.judge(self.blurred(clip), side, by=self.looking_at(turn, side))
        return list(zip(self.discriminator.names, turn.predictions[side], strict=True))

    def discriminator_losses(self, turn: Turn) -> Terms:
        terms: Terms = {}
        for (name, real), (_, fake) in zip(
            self.answers(turn, turn.real, "real"), self.answers(turn, turn.fake(), "fake")
        ):
            for side, loss in zip(("real", "fake"), hinge_d(real, fake)):
                terms[f"{name}_{side}"] = terms.get(f"{name}_{side}", 0.0) + loss
        turn.note(blur=torch.tensor(self.sigma))
        return terms

    def generator_losses(self, turn: Turn) -> Terms:
        terms: Terms = {}
        for name, fake in self.answers(turn, turn.fake(), "fake"):
            terms[name] = terms.get(name, 0.0) + hinge_g(fake)
        return terms
