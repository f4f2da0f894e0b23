"""Residual networks without normalisation for R3GAN, on clips (Huang et al. 2024, 2501.05441, section 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, check_frames, spatial_stages, time_doublings
from vidiff.nn.generators import MAX_MULTIPLIER

SLOPE = 0.2
CONVS = 3  # convolutions of a residual block


def he_init(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Weights N(0, gain^2 * 2 / ((1 + slope^2) fan_in)) (He et al. 2015, 1502.01852), bias zero; returns the layer."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear_init(layer: nn.Module) -> nn.Module:
    """Weights N(0, 1 / fan_in), bias zero: variance is kept where no activation follows; returns the layer."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """x + conv1(act(conv3_grouped(act(conv1(x))))): ResNeXt's inverted bottleneck without normalisation.

    Fix-up initialisation (Zhang et al. 2019, 1901.09321): the last convolution is zero, so that a new block is the
    identity, and the other m - 1 = 2 are scaled by L^(-1 / (2m - 2)) for L blocks in the network.

    Args:
        channels: channels of the input and the output.
        depth: L, residual blocks in the whole network.
        expansion: hidden channels per channel.
        group_size: channels of a group of the middle convolution.
    """

    def __init__(self, channels: int, depth: int, expansion: int = 2, group_size: int = 16):
        super().__init__()
        hidden = channels * expansion
        groups = max(1, hidden // group_size)
        gain = depth ** (-1 / (2 * CONVS - 2))
        last = nn.Conv3d(hidden, channels, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            he_init(nn.Conv3d(channels, hidden, 1), gain),
            nn.LeakyReLU(SLOPE),
            he_init(nn.Conv3d(hidden, hidden, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def enlarge(x: Tensor, time: bool) -> Tensor:
    """(B, C, T, H, W) -> twice the size in space, and in time if asked: nearest neighbour."""
    return F.interpolate(x, scale_factor=(2.0 if time else 1.0, 2.0, 2.0), mode="nearest")


def shrink(x: Tensor, time: bool) -> Tensor:
    """(B, C, T, H, W) -> half the size in space, and in time if asked: mean over 2x2(x2), an odd last frame repeated.

    It is what bilinear interpolation gives at this factor, with a derivative that is deterministic everywhere.
    """
    b, c, t, h, w = x.shape
    if time and t % 2:
        x = torch.cat([x, x[:, :, -1:]], dim=2)
    step = 2 if time else 1
    x = x.reshape(b, c, -1, step, h // 2, 2, w // 2, 2)  # (B, C, T/2, 2, H/2, 2, W/2, 2)
    return x.mean((3, 5, 7))


def _residual_stages(channels: list[int], blocks: int) -> nn.ModuleList:
    """A stage of residual blocks per grid, coarse to fine: `blocks` of expansion 2, a single narrow one on the finest.

    On the finest grid a block costs eight times what it costs one grid below, and the strided convolution beside it
    does part of its work.
    """
    depth = blocks * (len(channels) - 1) + 1
    stages = [nn.Sequential(*[ResidualBlock(c, depth) for _ in range(blocks)]) for c in channels[:-1]]
    return nn.ModuleList([*stages, nn.Sequential(ResidualBlock(channels[-1], depth, expansion=1))])


def _plan(spec: ClipSpec) -> tuple[list[int], list[bool], int]:
    """Channels of the grids from 4x4 upwards, whether the step after each also acts on time, and frames of the first.

    The last entry is the grid at half the resolution: the outermost step is a strided convolution.
    """
    check_frames(spec.num_frames)
    stages = spatial_stages(spec.resolution)
    doublings = time_doublings(spec.num_frames, stages)
    channels = [spec.width * min(2**i, MAX_MULTIPLIER) for i in reversed(range(stages))]
    times = [i >= stages - doublings for i in range(stages)]
    return channels, times, -(-spec.num_frames // 2**doublings)


class R3Generator(nn.Module):
    """z -> learned 4x4 basis -> residual stages with nearest upsampling -> transposed convolution to the clip.

    Args:
        spec: sizes; `width` is the number of channels of the grid at half the resolution.
        blocks: residual blocks per stage but the finest (the paper has 2 in all).
    """

    def __init__(self, spec: ClipSpec, blocks: int = 2):
        super().__init__()
        self.spec = spec
        channels, self.times, self.t0 = _plan(spec)
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        inputs = spec.latent_dim * (2 if self.embed else 1)
        self.basis = nn.Parameter(torch.randn(channels[0], self.t0, 4, 4))
        self.project = linear_init(nn.Linear(inputs, channels[0], bias=False))
        self.stages = _residual_stages(channels, blocks)
        self.widths = nn.ModuleList(linear_init(nn.Conv3d(a, b, 1, bias=False)) for a, b in zip(channels, channels[1:]))
        kernel_t, stride_t = (4, 2) if self.times[-1] else (3, 1)
        self.head = nn.ConvTranspose3d(channels[-1], spec.channels, (kernel_t, 4, 4), (stride_t, 2, 2), 1)
        # Each output voxel sums over kernel / stride taps of every channel.
        taps = channels[-1] * 4 * kernel_t / stride_t
        nn.init.normal_(self.head.weight, 0.0, 0.25 * taps**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) in [-1, 1]."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(label).to(z.dtype)], dim=1)
        x = self.project(z)[:, :, None, None, None] * self.basis  # (B, D, 1, 1, 1) * (D, t, 4, 4)
        for i, stage in enumerate(self.stages):
            if i:
                x = enlarge(self.widths[i - 1](x), self.times[i - 1])
            x = stage(x)
        return torch.tanh(self.head(x))[:, :, : self.spec.num_frames]


class R3Discriminator(nn.Module):
    """Strided convolution -> residual stages with mean downsampling -> depthwise 4x4 basis -> logit.

    With classes the logit gets a projection term (Miyato and Koyama 2018, 1802.05637), scaled by sqrt(D).

    Args:
        spec: sizes; `width` is the number of channels of the grid at half the resolution.
        blocks: see `R3Generator`.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 2):
        super().__init__()
        self.spec = spec
        channels, times, _ = _plan(spec)
        self.stages = nn.ModuleList(reversed(_residual_stages(channels, blocks)))  # fine to coarse
        channels, self.times = channels[::-1], times[::-1]
        kernel_t, stride_t = (4, 2) if self.times[0] else (3, 1)
        self.stem = linear_init(nn.Conv3d(spec.channels, channels[0], (kernel_t, 4, 4), (stride_t, 2, 2), 1))
        self.widths = nn.ModuleList(linear_init(nn.Conv3d(a, b, 1, bias=False)) for a, b in zip(channels, channels[1:]))
        t = spec.num_frames // 2 if self.times[0] else spec.num_frames
        for time in self.times[1:]:
            t = -(-t // 2) if time else t
        d = channels[-1]
        self.basis = linear_init(nn.Conv3d(d, d, (t, 4, 4), groups=d, bias=False))
        self.head = linear_init(nn.Linear(d, 1))
        self.embed = ClassEmbedding(spec.num_classes, d) if spec.num_classes else None

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        x = self.stem(clip)
        for i, stage in enumerate(self.stages):
            if i:
                x = self.widths[i - 1](shrink(x, self.times[i]))
            x = stage(x)
        features = self.basis(x).flatten(1)  # (B, D, 1, 1, 1) -> (B, D)
        logits = self.head(features).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(label) * features).sum(1) * features.shape[1] ** -0.5
        return logits
