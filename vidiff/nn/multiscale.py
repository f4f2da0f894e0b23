"""Discriminators of a clip at several sizes and frame rates: one logit a clip, or patch logits of every scale."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.resampling import thin_out
from vidiff.nn.resnet import ClipNorm, PatchDiscriminator


class PyramidDiscriminator(nn.Module):
    """logit(x) = mean over scales of D_s(x reduced by s): one discriminator a scale, none shares weights.

    Discriminators on several sizes are those of Wang et al. 2018 (1711.11585, section 3.2); on several frame rates, of
    Saito et al. 2020 (1811.09245). The mean of the logits, not of the losses: one number a clip suits every loss and
    every gradient penalty.

    Args:
        spec: sizes of the clip.
        scales: (space, time) divisors of each part; `space` a power of two that leaves at least 8 pixels.
        discriminator: factory of the parts, called with the reduced sizes.

    Raises:
        ValueError: a divisor that does not fit the clip.
    """

    def __init__(
        self,
        spec: ClipSpec,
        scales: list[tuple[int, int]] = [(1, 1), (2, 1), (1, 2)],  # noqa: B006  (read, never changed)
        discriminator: NetworkFactory = lambda spec: ConvDiscriminator(spec, norm="batch"),
    ):
        super().__init__()
        self.scales = [(int(space), int(time)) for space, time in scales]
        for space, time in self.scales:
            if space < 1 or time < 1 or spec.resolution % space or time > spec.num_frames:
                raise ValueError(
                    f"scale ({space}, {time}) does not fit {spec.num_frames} frames of {spec.resolution} pixels: "
                    "give (divisor of the side, distance of the frames)"
                )
        sizes = [dict(resolution=spec.resolution // s, num_frames=-(-spec.num_frames // t)) for s, t in self.scales]
        self.parts = nn.ModuleList(discriminator(replace(spec, **size)) for size in sizes)

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        logits = [part(thin_out(clip, *scale), label) for part, scale in zip(self.parts, self.scales)]
        return torch.stack(logits).mean(0)


class MultiScalePatchDiscriminator(nn.Module):
    """Patch discriminators that see the clip at several scales (Wang et al. 2017, 1711.11585), in space and in time.

    One network for each pair of scales (i, j): the clip averaged over squares of 2^i x 2^i pixels, every 2^j-th frame
    of it. Frames are left out, not averaged: fast motion must stay sharp. Every scale weighs equally: the grids of
    logits are repeated to the smallest number that is a multiple of all, so that the mean of any function of the
    logits is the mean over scales of that function's mean (`PyramidDiscriminator` averages the logits instead).

    Args:
        spec: sizes.
        scales_space, scales_time: how many; 1 = only the clip as it is.
        layers, norm: of each `PatchDiscriminator`.
    """

    def __init__(
        self,
        spec: ClipSpec,
        scales_space: int = 2,
        scales_time: int = 1,
        layers: int = 3,
        norm: ClipNorm = "instance",
    ):
        super().__init__()
        if scales_space < 1 or spec.resolution < 8 * 2 ** (scales_space - 1):
            raise ValueError(f"scales_space={scales_space}: from 1 up while 8 of {spec.resolution} pixels remain")
        if scales_time < 1 or spec.num_frames < 2 ** (scales_time - 1):
            raise ValueError(f"scales_time={scales_time}: from 1 up while one of {spec.num_frames} frames remains")
        self.scales = [(2**i, 2**j) for i in range(scales_space) for j in range(scales_time)]
        own = [
            replace(spec, resolution=spec.resolution // side, num_frames=-(-spec.num_frames // step))
            for side, step in self.scales
        ]
        self.networks = nn.ModuleList(PatchDiscriminator(s, layers, norm) for s in own)

    def logits_by_scale(self, clip: Tensor) -> list[Tensor]:
        """clip (B, C, T, H, W) -> the logits (B, n) of each scale."""
        return [
            network(thin_out(clip, side, step)).flatten(1) for network, (side, step) in zip(self.networks, self.scales)
        ]

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> logits (B, scales, N); the label is not used."""
        logits = self.logits_by_scale(clip)
        count = math.lcm(*(x.shape[1] for x in logits))
        return torch.stack([x.repeat_interleave(count // x.shape[1], dim=1) for x in logits], dim=1)
