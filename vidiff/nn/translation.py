"""Clip-to-clip networks: residual generators and patch discriminators of CycleGAN and StarGAN, with a time axis.

With `num_frames: 1` every kernel has length one in time and the networks are the published 2-D ones to the parameter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.attention import Over, SelfAttention
from vidiff.nn.blocks import check_frames, initialise, spatial_stages, time_doublings
from vidiff.nn.temporal import TemporalEncoder, TemporalKind

Conv = Literal["full", "factorised"]
Padding = Literal["replicate", "reflect", "zeros"]
ClipNorm = Literal["instance", "frame", "none"]
Up = Literal["transposed", "resize"]
FIRST_BLOCK = 9  # where the residual blocks begin in a generator's layers
GRID = 4  # a generator halves space twice: sides of its input are multiples of this


class ClipConv(nn.Module):
    """A convolution over space and, with `time` 3, over time; keeps T, and H and W up to the stride.

    `full` has kernels time x k x k; `factorised` a spatial 1 x k x k followed by a temporal time x 1 x 1 (Tran et al.
    2018, 1711.11248, without the activation between) that begins as the identity, so that a new network works frame by
    frame. In time the clip's first and last frame are repeated, whatever the padding in space.

    Args:
        c_in, c_out: channels.
        kernel: k; odd for stride 1.
        stride: in space.
        time: length of the kernel in time, 1 or 3.
        conv: `full` or `factorised`.
        padding: in space; strided convolutions have zeros, as published.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int = 1,
        time: int = 3,
        conv: Conv = "factorised",
        padding: Padding = "replicate",
        bias: bool = True,
    ):
        super().__init__()
        if conv not in ("full", "factorised"):
            raise ValueError(f"conv must be full or factorised, got {conv!r}")
        self.radius, split = time // 2, conv == "factorised" and time > 1
        side = (kernel - 1) // 2
        own = side if stride > 1 or padding == "zeros" else 0  # padding that the convolution does by itself
        self.side, self.mode = side - own, padding
        depth = 1 if split else time
        self.space = nn.Conv3d(
            c_in, c_out, (depth, kernel, kernel), (1, stride, stride), (0, own, own), bias=bias and not split
        )
        self.time = nn.Conv3d(c_out, c_out, (time, 1, 1), bias=bias) if split else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H / stride, W / stride)."""
        if self.side:
            x = F.pad(x, (self.side,) * 4 + (0, 0), self.mode)
        if self.time is None:
            return self.space(self._repeat_ends(x))
        return self.time(self._repeat_ends(self.space(x)))

    def _repeat_ends(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, self.radius, self.radius), "replicate") if self.radius else x


class FrameNorm(nn.Module):
    """Instance norm of each frame by itself: (x - mean) / sqrt(var + eps) over (H, W), without scale and shift."""

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, dim=(3, 4), correction=0, keepdim=True)  # (B, C, T, 1, 1)
        return (x - mean) * (var + 1e-5).rsqrt()


def clip_norm(norm: ClipNorm, channels: int, affine: bool = False) -> nn.Module:
    """`instance`: per clip and channel over (T, H, W) (Ulyanov et al. 2016, 1607.08022); `frame`: over (H, W) of each
    frame, so that a long video can be cut anywhere; `none`: identity."""
    if norm == "instance":
        return nn.InstanceNorm3d(channels, affine=affine)
    if norm == "frame":
        return FrameNorm()
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be instance, frame or none, got {norm!r}")


class ResidualBlock(nn.Module):
    """R: x + norm(conv3(relu(norm(conv3(x)))))."""

    def __init__(self, channels: int, norm: ClipNorm, affine: bool, **conv):
        super().__init__()
        self.layers = nn.Sequential(
            ClipConv(channels, channels, 3, **conv),
            clip_norm(norm, channels, affine),
            nn.ReLU(),
            ClipConv(channels, channels, 3, **conv),
            clip_norm(norm, channels, affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _finish(network: nn.Module) -> None:
    """N(0, 0.02) everywhere (as published), then the factorised temporal kernels as the identity."""
    initialise(network, "dcgan")
    for m in network.modules():
        if isinstance(m, ClipConv) and m.time is not None:
            nn.init.dirac_(m.time.weight)
        elif isinstance(m, nn.InstanceNorm3d) and m.weight is not None:
            nn.init.ones_(m.weight)


class ResnetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-3, tanh (Johnson et al. 2016, 1603.08155; Zhu et al. 2017,
    1703.10593, appendix 7.2), any number of frames and any sides that are multiples of 4.

    Time is never strided; the 7 x 7 and the transposed convolutions work frame by frame.

    Args:
        spec: sizes; `width` is the 64 of the paper.
        blocks: n; None: the paper's 9 from 128 pixels on, 6 below.
        conv: `factorised` or `full` kernels over time.
        padding: of the 7 x 7 and the residual convolutions; the paper has `reflect`.
        norm: see `clip_norm`.
        temporal: kind of a `TemporalEncoder` in the middle of the residual blocks; None = none, as published.
        attention: what a `SelfAttention` there runs over; None = none. Cost grows with the square of T * H * W / 16
            for `both`, of H * W / 16 for `space`, of T for `time`.
        skip: a 1 x 1 convolution from the input to the output beside the network, see `_Skip`.
        up: how u128 and u64 double the sides, see `_up`.
    """

    def __init__(
        self,
        spec: ClipSpec,
        blocks: int | None = None,
        conv: Conv = "factorised",
        padding: Padding = "replicate",
        norm: ClipNorm = "instance",
        temporal: TemporalKind | None = None,
        attention: Over | None = None,
        skip: bool = False,
        up: Up = "transposed",
    ):
        super().__init__()
        check_frames(spec.num_frames)
        spatial_stages(spec.resolution)
        blocks = blocks if blocks is not None else (9 if spec.resolution >= 128 else 6)
        self.layers = _residual_layers(spec, spec.channels, blocks, 3, True, False, norm, conv, padding, up)
        _finish(self)
        # After the initialisation: these two bring their own, and begin as the identity.
        middle = FIRST_BLOCK + blocks // 2
        if attention is not None:
            self.layers.insert(middle, SelfAttention(4 * spec.width, attention))
        if temporal is not None:
            self.layers.insert(middle, TemporalEncoder(4 * spec.width, temporal))
        self.skip = _Skip(self.layers, spec.channels, spec.channels) if skip else None

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> clip of the same shape in [-1, 1]; the label is not used."""
        return self.layers(clip) if self.skip is None else self.skip(self.layers, clip)


class StarGenerator(nn.Module):
    """StarGAN's generator (Choi et al. 2018, 1711.09020, table 4): the target label as planes beside the clip's own.

    As `ResnetGenerator`, but with 4 x 4 strided convolutions, scaled instance norm and no biases. A constant plane only
    adds a constant to a channel, which the first norm takes out again: published, the label enters through the zeros
    that pad the borders. With another padding the first convolution therefore has no norm behind it.

    Args:
        spec: sizes; `width` is the 64 of the paper, `num_classes` the number of domains.
        blocks, conv, norm: as in `ResnetGenerator`.
        padding: of the 7 x 7 and the residual convolutions; the paper has `zeros`.
        skip: as in `ResnetGenerator`; it sees the label's planes too.
        up: as in `ResnetGenerator`.
    """

    def __init__(
        self,
        spec: ClipSpec,
        blocks: int = 6,
        conv: Conv = "factorised",
        padding: Padding = "replicate",
        norm: ClipNorm = "instance",
        skip: bool = False,
        up: Up = "transposed",
    ):
        super().__init__()
        check_frames(spec.num_frames)
        spatial_stages(spec.resolution)
        self.domains = spec.num_classes or 0
        planes = spec.channels + self.domains
        self.layers = _residual_layers(spec, planes, blocks, 4, False, True, norm, conv, padding, up)
        if padding != "zeros":
            self.layers[1] = nn.Identity()
        _finish(self)
        self.skip = _Skip(self.layers, planes, spec.channels) if skip else None

    def forward(self, clip: Tensor, label: Tensor) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], target label (B,) -> clip of the same shape."""
        one_hot = F.one_hot(label, self.domains).to(clip.dtype)  # (B, K)
        planes = one_hot[:, :, None, None, None].expand(-1, -1, *clip.shape[2:])  # (B, K, T, H, W)
        x = torch.cat([clip, planes], dim=1)
        return self.layers(x) if self.skip is None else self.skip(self.layers, x)


class _Skip(nn.Conv3d):
    """tanh(layers(x) + W x + b), with W = 1.5 I and the network's last convolution 0 at the start: a translation that
    begins as (nearly) a copy and has only to learn what changes.

    Not in the papers. At 32 x 32 the published network squeezes a clip through 8 x 8 places and spends most of a short
    training on learning to copy; 1.5 because tanh(1.5 x) stays within 0.15 of x.
    """

    def __init__(self, layers: nn.Sequential, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 1)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(layers[-2].space.weight)
        with torch.no_grad():
            for c in range(c_out):
                self.weight[c, c] = 1.5

    def forward(self, layers: nn.Sequential, x: Tensor) -> Tensor:
        return torch.tanh(layers[:-1](x) + super().forward(x))


def _residual_layers(
    spec: ClipSpec,
    c_in: int,
    blocks: int,
    strided_kernel: int,
    bias: bool,
    affine: bool,
    norm: ClipNorm,
    conv: Conv,
    padding: Padding,
    up: Up = "transposed",
) -> nn.Sequential:
    w, time = spec.width, 3 if spec.num_frames > 1 else 1
    own = dict(time=time, conv=conv, padding=padding, bias=bias)
    per_frame = {**own, "time": 1}
    layers: list[nn.Module] = [ClipConv(c_in, w, 7, **per_frame), clip_norm(norm, w, affine), nn.ReLU()]
    for c in (w, 2 * w):
        layers += [ClipConv(c, 2 * c, strided_kernel, 2, **own), clip_norm(norm, 2 * c, affine), nn.ReLU()]
    layers += [ResidualBlock(4 * w, norm, affine, **own) for _ in range(blocks)]
    for c in (4 * w, 2 * w):
        layers += [_up(up, c, c // 2, strided_kernel, per_frame), clip_norm(norm, c // 2, affine), nn.ReLU()]
    return nn.Sequential(*layers, ClipConv(w, spec.channels, 7, **per_frame), nn.Tanh())


def _up(up: Up, c_in: int, c_out: int, kernel: int, conv: dict) -> nn.Module:
    """A layer that doubles H and W, frame by frame.

    `transposed`: a strided transposed convolution, as published. Its kernel covers neighbouring pixels unequally often,
    which leaves a grid of every other pixel. `resize`: nearest neighbour, then a 3 x 3 convolution, which does not
    (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").
    """
    if up == "transposed":
        extra = kernel % 2  # an odd kernel needs a row and a column more to double the size
        return nn.ConvTranspose3d(
            c_in, c_out, (1, kernel, kernel), (1, 2, 2), (0, 1, 1), (0, extra, extra), bias=conv["bias"]
        )
    if up == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=(1, 2, 2)), ClipConv(c_in, c_out, 3, **conv))
    raise ValueError(f"up must be transposed or resize, got {up!r}")


class NextFrame(nn.Module):
    """P of Recycle-GAN (Bansal et al. 2018, 1808.05174): the next frame from the two before it.

    The layers of `ResnetGenerator` on two frames side by side, 2 C channels; without any kernel or norm over time, so
    that all pairs of a clip are predicted from at once. The paper's is a U-Net.

    Args:
        spec: sizes; `width` as the generator's.
        blocks: residual blocks.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 2):
        super().__init__()
        frames = replace(spec, num_frames=1)
        self.layers = _residual_layers(
            frames, 2 * spec.channels, blocks, 3, True, False, "frame", "factorised", "replicate"
        )
        _finish(self)

    def forward(self, clip: Tensor) -> Tensor:
        """clip (B, C, T, H, W), T >= 2 -> (B, C, T-1, H, W): entry i is the frame after frames i and i+1."""
        return self.layers(torch.cat([clip[:, :, :-1], clip[:, :, 1:]], dim=1))


def time_radius(network: nn.Module) -> int:
    """Frames on either side that a frame of a generator's output depends on through its convolutions.

    Meaningless where `has_clip_statistics`.
    """
    return sum(m.radius for m in network.modules() if isinstance(m, ClipConv | TemporalEncoder))


def has_clip_statistics(network: nn.Module) -> bool:
    """Whether any layer depends on all frames, so that no window of a video gives what the whole would: a norm over
    time, a recurrence, or attention over time."""
    norms = nn.modules.instancenorm._InstanceNorm | nn.GroupNorm
    return any(isinstance(m, norms) or getattr(m, "unbounded", False) for m in network.modules())


def _strided(c_in: int, c_out: int, halve_time: bool, time: bool) -> nn.Conv3d:
    """4 x 4, stride 2 in space; in time 4 and 2 where it is halved, else 3 and 1; 1 and 1 for images."""
    depth, step = ((4, 2) if halve_time else (3, 1)) if time else (1, 1)
    return nn.Conv3d(c_in, c_out, (depth, 4, 4), (step, 2, 2), (1 if time else 0, 1, 1))


class PatchDiscriminator(nn.Module):
    """C64, C128, C256 (stride 2), C512 and a logit (stride 1), kernels 4 x 4: each logit judges a patch of the clip.

    70 x 70 pixels with three strided layers, 34 with two, 16 with one (Isola et al. 2017, 1611.07004; Zhu et al. 2017,
    1703.10593, appendix 7.2). Strided layers halve time too while two frames remain.

    Args:
        spec: sizes; `width` is the 64 of the paper.
        layers: strided layers; fewer where the clip is too small to leave a 4 x 4 grid.
        norm: see `clip_norm`.
    """

    def __init__(self, spec: ClipSpec, layers: int = 3, norm: ClipNorm = "instance"):
        super().__init__()
        check_frames(spec.num_frames)
        layers = min(layers, spatial_stages(spec.resolution))
        halvings, time = time_doublings(spec.num_frames, layers), spec.num_frames > 1
        channels = [spec.channels] + [spec.width * min(2**i, 8) for i in range(layers + 1)]
        modules: list[nn.Module] = []
        for i in range(layers):
            modules.append(_strided(channels[i], channels[i + 1], i < halvings, time))
            modules += [clip_norm(norm, channels[i + 1])] if i else []
            modules.append(nn.LeakyReLU(0.2))
        kernel, pad = ((3, 4, 4), 1) if time else ((1, 4, 4), (0, 1, 1))
        modules += [nn.Conv3d(channels[-2], channels[-1], kernel, padding=pad), clip_norm(norm, channels[-1])]
        modules += [nn.LeakyReLU(0.2), nn.Conv3d(channels[-1], 1, kernel, padding=pad)]
        self.layers = nn.Sequential(*modules)
        initialise(self, "dcgan")

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> logits (B, 1, T', H', W'); the label is not used."""
        return self.layers(clip)


class StarDiscriminator(nn.Module):
    """StarGAN's discriminator (Choi et al. 2018, 1711.09020, table 5): patch logits and a logit for each domain.

    Args:
        spec: sizes; `width` is the 64 of the paper, `num_classes` the number of domains.
        layers: 4 x 4 strided layers; fewer where the clip is too small to leave a 2 x 2 grid.
    """

    def __init__(self, spec: ClipSpec, layers: int = 6):
        super().__init__()
        check_frames(spec.num_frames)
        layers = min(layers, spatial_stages(spec.resolution) + 1)
        halvings, time = time_doublings(spec.num_frames, layers), spec.num_frames > 1
        channels = [spec.channels] + [spec.width * 2**i for i in range(layers)]
        modules: list[nn.Module] = []
        for i in range(layers):
            modules += [_strided(channels[i], channels[i + 1], i < halvings, time), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*modules)
        side, frames = spec.resolution // 2**layers, spec.num_frames // 2**halvings
        depth, pad = (3, 1) if time else (1, (0, 1, 1))
        self.source = nn.Conv3d(channels[-1], 1, (depth, 3, 3), padding=pad, bias=False)
        self.domain = nn.Conv3d(channels[-1], max(1, spec.num_classes or 0), (frames, side, side), bias=False)
        initialise(self, "dcgan")

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """clip (B, C, T, H, W) in [-1, 1] -> real/fake logits (B, 1, T', H', W'), domain logits (B, K)."""
        features = self.layers(clip)
        return self.source(features), self.domain(features).flatten(1)  # (B, K, 1, 1, 1) -> (B, K)
