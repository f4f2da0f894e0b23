"""A pyramid of discriminators: the same clip judged at several sizes and frame rates."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.discriminators import ConvDiscriminator


def thinned(clip: Tensor, space: int, time: int) -> Tensor:
    """(B, C, T, H, W) -> (B, C, ceil(T / time), H / space, W / space): mean over squares, every `time`-th frame."""
    clip = clip[:, :, ::time]
    b, c, t, h, w = clip.shape
    return clip.reshape(b, c, t, h // space, space, w // space, space).mean((4, 6))


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
        logits = [part(thinned(clip, *scale), label) for part, scale in zip(self.parts, self.scales)]
        return torch.stack(logits).mean(0)
