"""Discriminators of clips at several scales of space and time."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.pyramid import thinned
from vidiff.nn.resnet import ClipNorm, PatchDiscriminator


class MultiScaleDiscriminator(nn.Module):
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

    def each(self, clip: Tensor) -> list[Tensor]:
        """clip (B, C, T, H, W) -> the logits (B, n) of each scale."""
        return [
            network(thinned(clip, side, step)).flatten(1) for network, (side, step) in zip(self.networks, self.scales)
        ]

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> logits (B, scales, N); the label is not used."""
        logits = self.each(clip)
        count = math.lcm(*(x.shape[1] for x in logits))
        return torch.stack([x.repeat_interleave(count // x.shape[1], dim=1) for x in logits], dim=1)
