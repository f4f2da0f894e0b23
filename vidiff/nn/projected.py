"""Judges of clips that look at the maps of a frozen network, mixed at random, instead of at pixels.

Sauer, Chitta, Müller, Geiger 2021, "Projected GANs Converge Faster", 2111.01007. With x_l the standardized maps of
stage l of the frozen network, L the deepest stage, and A_l, B_l random matrices that never change:

    s_L = A_L x_L,    s_l = (A_l x_l + up(p_{l+1})) / sqrt(2),    p_l = B_l s_l

A_l mixes the channels, and p what the scales hold; `up` doubles height and width. A head in space judges p_l of a
frame, a head in time [p_l, dp_l], with dp_l the difference of p_l between two adjacent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec, frames_to_clip
from vidiff.errors import UsageError, at_least
from vidiff.nn.blocks import LeakyReLU, add_spectral_norm, initialize
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.perceptual import Lite0
from vidiff.pretrained.lite0 import pictures

Features = Literal["imagenet", "random", "none"]
CHANNELS = (16, 24, 40, 112, 320)  # of the stages of EfficientNet-Lite0
GRID = 4  # height and width of a map of logits


class StandardMaps(Lite0):
    """Maps of `Lite0`, every channel with mean 0 and variance 1 over `pictures`: of one scale for all networks."""

    @cached_property
    def statistics(self) -> list[tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each stage's channels, (C_l, 1, 1) each."""
        with torch.no_grad():
            maps = super().__call__(pictures()[:, :, None])
        return [(m.mean((0, 2, 3))[:, None, None], m.std((0, 2, 3))[:, None, None]) for m in maps]

    def __call__(self, clip: Tensor) -> list[Tensor]:
        statistics = self.statistics
        return [(m - mean.to(m)) / std.to(m) for m, (mean, std) in zip(super().__call__(clip), statistics)]


class Projector(nn.Module):
    """Clips (B, C, T, H, W) in [-1, 1] -> the maps p_l of their frames, (B*T, D_l, H_l, W_l), the largest first.

    The random matrices are buffers, of normal numbers that keep the variance; the frozen network is no module: it is
    neither trained nor saved, always evaluates and follows its input.

    Args:
        maps: of the frozen network.
        taps: which of its stages these are, each of half the height and width of the one before.
        width: channels that x_l of the first stage is mixed into; twice as many from stage to stage.
    """

    def __init__(self, maps: Lite0, taps: Sequence[int], width: int):
        super().__init__()
        self.maps = maps
        mixed = [width * 2**i for i in range(len(taps))]  # of A_l x_l
        self.channels = [mixed[0], *mixed[:-1]]  # of p_l
        for i, tap in enumerate(taps):
            self.register_buffer(f"a{i}", torch.randn(mixed[i], CHANNELS[tap]) * CHANNELS[tap] ** -0.5)
            self.register_buffer(f"b{i}", torch.randn(self.channels[i], mixed[i]) * mixed[i] ** -0.5)

    def forward(self, clip: Tensor) -> list[Tensor]:
        with torch.autocast(clip.device.type, enabled=False):
            p: list[Tensor] = []
            for i, x in reversed(list(enumerate(self.maps(clip)))):
                s = _mix(getattr(self, f"a{i}"), x)
                if p:
                    s = (s + F.interpolate(p[0], scale_factor=2, mode="nearest")) * 0.5**0.5
                p.insert(0, _mix(getattr(self, f"b{i}"), s))
            return p


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """(D, C) and (N, C, H, W) -> (N, D, H, W)."""
    return F.conv2d(x, matrix[:, :, None, None].to(x))


def map_head(channels: int, width: int, size: int) -> nn.Sequential:
    """Maps (N, channels, size, 2^k size) -> maps of logits (N, 1, 4, 2^k 4): spectral norm on every layer, no other."""
    layers: list[nn.Module] = []
    while size > GRID:
        layers += [nn.Conv2d(channels, width, 4, 2, 1), LeakyReLU(0.2)]
        channels, size = width, size // 2
    layers += [nn.Conv2d(channels, width, 3, 1, 1), LeakyReLU(0.2), nn.Conv2d(width, 1, 3, 1, 1)]
    head = nn.Sequential(*layers)
    initialize(head, "dcgan")
    add_spectral_norm(head)
    return head


class ProjectedDiscriminator(nn.Module):
    """A judge of the pixels of whole clips, and heads in space and time on the mixed maps of pairs of adjacent frames.

    Args:
        spec: sizes; the heads and the mixed maps of the first stage have 2 `width` channels. Labels are the pixels'
            judge's alone.
        features: `imagenet`: EfficientNet-Lite0 with its weights; `random`: the same layers with random weights;
            `none`: only pixels are judged.
        time_heads: whether there are heads in time.
        pairs: pairs of frames of a clip.
        taps: stages of the network, next to each other, see `vidiff.nn.perceptual.Lite0`.
        enlarge: frames are enlarged so many times, bilinear, before the network sees them; None: as often as the last
            stage needs for a map of 4x4.
        seed: of random weights.

    Raises:
        UsageError: clips of one frame, or stages that are not there or have no map of 4x4 or more.
    """

    def __init__(
        self,
        spec: ClipSpec,
        features: Features = "imagenet",
        time_heads: bool = True,
        pairs: int = 2,
        taps: Sequence[int] = (0, 1, 2),
        enlarge: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        at_least(1, **{"model.pairs": pairs, "model.enlarge": enlarge})
        self.spec, self.pairs = spec, min(pairs, spec.num_frames - 1)
        self.enlarge = enlarge or max(1, GRID * 2 ** (max(taps, default=0) + 1) // spec.resolution)
        self.pixels = ConvDiscriminator(spec, norm="none", spectral=True)
        self.projector: Projector | None = None
        self.space, self.time = nn.ModuleList(), nn.ModuleList()
        if features == "none":
            return
        sizes = self._sizes(list(taps))
        maps = StandardMaps(f"features `{features}`", taps, features, seed)
        self.projector = Projector(maps, taps, 2 * spec.width)
        for channels, size in zip(self.projector.channels, sizes):
            self.space.append(map_head(channels, 2 * spec.width, size))
            if time_heads:
                self.time.append(map_head(2 * channels, 2 * spec.width, size))

    def _sizes(self, taps: list[int]) -> list[int]:
        """Heights of the maps."""
        if self.spec.num_frames < 2:
            raise UsageError("model.features: pairs of adjacent frames need num_frames of 2 or more (or `none`)")
        if not taps or taps != list(range(taps[0], taps[-1] + 1)) or not 0 <= taps[0] <= taps[-1] <= 4:
            raise UsageError(f"model.taps must be neighbors from 0 to 4, such as [0, 1, 2], got {taps}")
        sizes = [self.spec.resolution * self.enlarge // 2 ** (tap + 1) for tap in taps]
        if sizes[-1] < GRID or self.enlarge & (self.enlarge - 1):
            raise UsageError(
                f"model.enlarge must be a power of two that leaves the last of the taps {GRID}x{GRID} or more, "
                f"got {self.enlarge} for taps {taps} of {self.spec.resolution} pixels"
            )
        return sizes

    @property
    def names(self) -> list[str]:
        """Of the judges, in the order of their answers: one of pixels, one of each scale in space and in time."""
        return ["pixels"] + ["space"] * len(self.space) + ["time"] * len(self.time)

    def pairs_of(self, clip: Tensor, starts: Tensor | None) -> Tensor:
        """Pairs of adjacent frames as clips of two, (B, C, T, H, W) -> (B*P, C, 2, H, W), enlarged.

        Args:
            starts: the first frames of the pairs, int64 (B, P); None: as far apart as they can be.
        """
        if starts is None:
            starts = torch.linspace(0, clip.shape[2] - 2, self.pairs, device=clip.device).long().expand(len(clip), -1)
        times = torch.stack([starts, starts + 1], dim=2)  # (B, P, 2)
        rows = torch.arange(len(clip), device=clip.device)[:, None, None]
        pairs = (
            clip.transpose(1, 2)[rows, times].flatten(0, 1).transpose(1, 2)
        )  # (B, P, 2, C, H, W) -> (B*P, C, 2, H, W)
        if self.enlarge == 1:
            return pairs
        height, width = (enlarging(n, self.enlarge).to(pairs) for n in pairs.shape[-2:])
        return height @ pairs @ width.T

    def forward(
        self, clip: Tensor, label: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None, starts as in `pairs_of` -> mean logits (B, K) of the K
        judges, and all of their logits, (B,) of the pixels' and (B*2P, 1, 4, 4), (B*P, 1, 4, 4) of the heads."""
        answers = [self.pixels(clip, label)]
        if self.projector is not None:
            maps = self.projector(self.pairs_of(clip, starts))
            answers += [head(m) for head, m in zip(self.space, maps)]
            for head, m in zip(self.time, maps):
                first, second = frames_to_clip(m, 2).unbind(2)  # (B*P, D, H, W) each
                answers.append(head(torch.cat([first, second - first], dim=1)))
        means = torch.stack([a.reshape(len(clip), -1).mean(1) for a in answers], dim=1)
        return means, tuple(answers)


def enlarging(size: int, times: int) -> Tensor:
    """The matrix (times * size, size) of bilinear enlargement, whose gradient is the same on every run of a GPU."""
    if times == 1:
        return torch.eye(size)
    rows = torch.eye(size)[None]  # (1, size, size): each column a signal
    return F.interpolate(rows.transpose(1, 2), scale_factor=times, mode="linear", align_corners=False)[0].T


def blurring(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) of a Gaussian blur up to 4 sigma, row i: exp(-(i - j)^2 / (2 sigma^2)) / its sum."""
    apart = torch.arange(size, dtype=torch.float64)[:, None] - torch.arange(size)
    weights = torch.exp(-(apart**2) / (2 * sigma**2)) * (apart.abs() <= 4 * sigma)  # denormal numbers are slow
    return weights / weights.sum(1, keepdim=True)
