"""Several networks in the place of one: an ensemble of discriminators, a mixture of generators."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator


def _members(factory: NetworkFactory, spec: ClipSpec, count: int) -> nn.ModuleList:
    """`count` networks built one after the other: alike in architecture, each with initial weights of its own."""
    if count < 1:
        raise UsageError(f"an ensemble needs count >= 1, got {count}")
    return nn.ModuleList(factory(spec) for _ in range(count))


class DiscriminatorEnsemble(nn.Module):
    """K discriminators of the same clips, averaged.

    Durugkar, Gemp, Mahadevan 2017, "Generative Multi-Adversarial Networks", 1611.01673, with the arithmetic mean.

        mean: terms     1/K sum_k E f(D_k(x)): each plays the whole game against G
        mean: logits    E f(1/K sum_k D_k(x)): together they are one discriminator

    Games with a penalty on the gradient (of the mean logit) or with a margin a clip take `logits`; the paper's
    form is `terms`, for games whose terms are means over logits.

    Args:
        spec: sizes, those of every member.
        member: factory of a discriminator that returns logits (B,) or (B, P).
        count: K.
        mean: what is averaged.
    """

    def __init__(
        self,
        spec: ClipSpec,
        member: NetworkFactory = lambda spec: ConvDiscriminator(spec),
        count: int = 3,
        mean: Literal["terms", "logits"] = "terms",
    ):
        super().__init__()
        if mean not in ("terms", "logits"):
            raise UsageError(f"DiscriminatorEnsemble: mean must be terms or logits, got {mean!r}")
        self.members, self.mean = _members(member, spec, count), mean

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W), label (B,) or None -> `terms`: logits (B, K) or (B, K * P); `logits`: as a member."""
        logits = [member(clip, label) for member in self.members]
        if self.mean == "logits":
            return torch.stack(logits).mean(0)
        return torch.cat([x.flatten(1) if x.ndim > 1 else x[:, None] for x in logits], dim=1)


class GeneratorEnsemble(nn.Module):
    """A mixture of K generators: each latent belongs to one of them, each of them to 1/K of all latents.

    A mixture as in Hoang et al. 2018, "MGAN: Training Generative Adversarial Nets with Multiple Generators",
    1708.02556, without its classifier and without shared layers: one discriminator sees the mixture.
    The member is floor(K Phi(z_1)), Phi the normal distribution function: as much a function of (seed, sample) as z
    itself, hence the same in training and in sampling, for any batch size and number of processes.
    Every member runs on the whole batch, so that BatchNorm's statistics and the set of gradients are the same on
    every process; only the chosen rows reach the clip.

    Args:
        spec: sizes, those of every member.
        member: factory of a generator (z, label, ...) -> clips.
        count: K; an update costs K times as much in G.
    """

    def __init__(self, spec: ClipSpec, member: NetworkFactory = lambda spec: ConvGenerator(spec), count: int = 2):
        super().__init__()
        self.members = _members(member, spec, count)

    def choice(self, z: Tensor) -> Tensor:
        """z (B, Z) -> number of the member (B,), uniform for normal z."""
        k = len(self.members)
        return (torch.special.ndtr(z[:, 0].float()) * k).long().clamp(max=k - 1)

    def forward(self, z: Tensor, *inputs: Any) -> Tensor:
        """z (B, Z) and whatever else a member takes -> clips (B, C, T, H, W)."""
        clips = torch.stack([member(z, *inputs) for member in self.members])  # (K, B, C, T, H, W)
        return clips[self.choice(z), torch.arange(len(z), device=z.device)]
