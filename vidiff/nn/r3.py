"""Residual networks without normalisation for R3GAN, on clips (Huang et al. 2024, 2501.05441, section 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, Conv3d, LeakyReLU, ladder
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

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, channels: int, depth: int, expansion: int = 2, group_size: int = 16):
        super().__init__()
        hidden = channels * expansion
        groups = max(1, hidden // group_size)
        gain = depth ** (-1 / (2 * CONVS - 2))
        last = Conv3d(hidden, channels, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            he_init(Conv3d(channels, hidden, 1), gain),
            LeakyReLU(SLOPE),
            he_init(Conv3d(hidden, hidden, 3, padding=1, groups=groups), gain),
            LeakyReLU(SLOPE),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _plan(spec: ClipSpec) -> tuple[list[int], list[bool], int]:
    """Channels of the grids from 4x4 upwards, whether the step after each also acts on time, and frames of the first.

    The last entry is the grid at half the resolution.
    """
    stages, doublings = ladder(spec)
    channels = [spec.width * min(2**i, MAX_MULTIPLIER) for i in reversed(range(stages))]
    times = [i >= stages - doublings for i in range(stages)]
    return channels, times, -(-spec.num_frames // 2**doublings)


def _residual_stages(channels: list[int], blocks: int) -> nn.ModuleList:
    """`blocks` residual blocks for each grid, coarse to fine, none on the finest, then an activation."""
    depth = max(1, blocks * (len(channels) - 1))
    counts = [blocks] * (len(channels) - 1) + [0]
    return nn.ModuleList(
        nn.Sequential(*[ResidualBlock(c, depth) for _ in range(n)], LeakyReLU(SLOPE)) for c, n in zip(channels, counts)
    )


def _kernel(time: bool) -> dict[str, tuple[int, int, int]]:
    """Kernel, stride and padding of a convolution that halves or doubles space, and time where `time`."""
    return dict(kernel_size=(4 if time else 3, 4, 4), stride=(2 if time else 1, 2, 2), padding=(1, 1, 1))


class R3Generator(nn.Module):
    """z -> learned 4x4 basis -> residual stages, a transposed convolution after each -> clip.

    Args:
        spec: sizes; `width` is the number of channels of the grid at half the resolution.
        blocks: residual blocks per grid but the finest (the paper has 2).
    """

    def __init__(self, spec: ClipSpec, blocks: int = 2):
        super().__init__()
        self.spec = spec
        channels, times, t0 = _plan(spec)
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        inputs = spec.latent_dim * (2 if self.embed else 1)
        self.basis = nn.Parameter(torch.randn(channels[0], t0, 4, 4 * spec.aspect))
        self.project = linear_init(nn.Linear(inputs, channels[0], bias=False))
        self.stages = _residual_stages(channels, blocks)
        self.ups = nn.ModuleList()
        for a, b, time in zip(channels, [*channels[1:], spec.channels], times):
            up = nn.ConvTranspose3d(a, b, **_kernel(time))
            # Each output voxel sums over kernel / stride taps of every channel, of one frame only over the middle one.
            taps = a * math.prod(k / s for k, s in zip(up.kernel_size, up.stride)) / (3 if spec.num_frames == 1 else 1)
            gain = 0.25 if b == spec.channels else math.sqrt(2 / (1 + SLOPE**2))
            nn.init.normal_(up.weight, 0.0, gain * taps**-0.5)
            nn.init.zeros_(up.bias)
            self.ups.append(up)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W); linear output as in the authors' code.

        A tanh is where it dies: on black ground, and without normalisation, it is saturated within 250 updates.
        """
        if self.embed is not None:
            z = torch.cat([z, self.embed(label).to(z.dtype)], dim=1)
        x = self.project(z)[:, :, None, None, None] * self.basis  # (B, D, 1, 1, 1) * (D, t, 4, 4)
        for stage, up in zip(self.stages, self.ups):
            x = up(stage(x))
        return x[:, :, : self.spec.num_frames]


class R3Discriminator(nn.Module):
    """Strided convolutions with a residual stage after each -> depthwise 4x4 basis -> logit.

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
        channels, times, t = [*channels, spec.channels][::-1], times[::-1], spec.num_frames
        self.downs = nn.ModuleList()
        for a, b, time in zip(channels, channels[1:], times):
            self.downs.append(he_init(Conv3d(a, b, **_kernel(time))))
            t = t // 2 if time else t
        d = channels[-1]
        self.basis = linear_init(Conv3d(d, d, (t, 4, 4 * spec.aspect), groups=d, bias=False))
        self.head = linear_init(nn.Linear(d, 1))
        self.embed = ClassEmbedding(spec.num_classes, d) if spec.num_classes else None

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        x = clip
        for down, stage in zip(self.downs, self.stages):
            x = stage(down(x))
        features = self.basis(x).flatten(1)  # (B, D, 1, 1, 1) -> (B, D)
        logits = self.head(features).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(label) * features).sum(1) * features.shape[1] ** -0.5
        return logits
