"""Clip-to-clip networks: residual generators and patch discriminators of CycleGAN and StarGAN, with a time axis.

With `num_frames: 1` every kernel has length one in time and the networks are the published 2-D ones to the parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.attention import Over, SelfAttention
from vidiff.nn.blocks import Conv3d, LeakyReLU, check_frames, initialize, spatial_stages, time_doublings
from vidiff.nn.by_frames import through
from vidiff.nn.clip_layers import ClipConv, ClipNorm, Conv, Padding, ResidualBlock, Up, clip_norm, doubling
from vidiff.nn.temporal_encoders import TemporalEncoder, TemporalKind

FIRST_BLOCK = 9  # where the residual blocks begin in a generator's layers
GRID = 4  # a generator halves space twice: sides of its input are multiples of this


def _finish(network: nn.Module) -> None:
    """N(0, 0.02) everywhere (as published), then the factorized temporal kernels as the identity."""
    initialize(network, "dcgan")
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
        conv: `factorized` or `full` kernels over time.
        padding: of the 7 x 7 and the residual convolutions; the paper has `reflect`.
        norm: see `clip_norm`.
        temporal: kind of a `TemporalEncoder` in the middle of the residual blocks; None = none, as published.
        attention: what a `SelfAttention` there runs over; None = none. Cost grows with the square of T * H * W / 16
            for `both`, of H * W / 16 for `space`, of T for `time`.
        skip: a 1 x 1 convolution from the input to the output beside the network, see `_Skip`.
        up: how u128 and u64 double the sides, see `doubling`.
    """

    in_order = True  # see `ResidualBlock`
    by_frames = False  # see `vidiff.nn.by_frames`

    def __init__(
        self,
        spec: ClipSpec,
        blocks: int | None = None,
        conv: Conv = "factorized",
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
        return _run(self, clip)


class FramePainter(ResnetGenerator):
    """A `ResnetGenerator` that takes each frame by itself and begins as (nearly) a copy: what Johnson et al. 2016
    (1603.08155) train for a style, with instance norm of each frame, and doubled sides instead of transposed kernels.

    Args:
        spec: sizes; any number of frames is taken.
        blocks: residual blocks; the paper has 5.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 3):
        super().__init__(replace(spec, num_frames=1), blocks, norm="frame", skip=True, up="resize")


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

    in_order = True
    by_frames = False  # see `vidiff.nn.by_frames`

    def __init__(
        self,
        spec: ClipSpec,
        blocks: int = 6,
        conv: Conv = "factorized",
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
        return _run(self, torch.cat([clip, planes], dim=1))


def _run(network: ResnetGenerator | StarGenerator, x: Tensor) -> Tensor:
    """The layers of a generator, beside its skip where it has one."""
    run = through if network.by_frames else _called
    return run(network.layers, x) if network.skip is None else network.skip(network.layers, x, run)


def _called(layers: nn.Sequential, x: Tensor) -> Tensor:
    return layers(x)


class _Skip(Conv3d):
    """tanh(layers(x) + g (W x + b)), with g W = 1.5 I and the network's last convolution 0 at the start: a translation
    that begins as (nearly) a copy and has only to learn what changes.

    Not in the papers. At 32 x 32 the published network squeezes a clip through 8 x 8 places and spends most of a short
    training on learning to copy; 1.5 because tanh(1.5 x) stays within 0.15 of x. The gain g = 8 lets these few
    weights, which alone carry fine texture, move eight times as far in a step of Adam as all others: with g = 1 its
    contrast was still the source's after 600 steps.
    """

    gain = 8.0
    _version = 2  # of the state: 1 had no gain

    def __init__(self, layers: nn.Sequential, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 1)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(layers[-2].space.weight)
        with torch.no_grad():
            for c in range(c_out):
                self.weight[c, c] = 1.5 / self.gain

    def forward(self, layers: nn.Sequential, x: Tensor, run: Callable[[nn.Sequential, Tensor], Tensor]) -> Tensor:
        return torch.tanh(run(layers[:-1], x) + self.gain * super().forward(x))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        if local_metadata.get("version", 1) < 2:
            for name in ("weight", "bias"):
                if prefix + name in state_dict:
                    state_dict[prefix + name] = state_dict[prefix + name] / self.gain
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


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
        layers += [doubling(up, c, c // 2, strided_kernel, per_frame), clip_norm(norm, c // 2, affine), nn.ReLU()]
    return nn.Sequential(*layers, ClipConv(w, spec.channels, 7, **per_frame), nn.Tanh())


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
            frames, 2 * spec.channels, blocks, 3, True, False, "frame", "factorized", "replicate"
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


def strided(c_in: int, c_out: int, halve_time: bool, time: bool) -> Conv3d:
    """4 x 4, stride 2 in space; in time 4 and 2 where it is halved, else 3 and 1; 1 and 1 for images."""
    depth, step = ((4, 2) if halve_time else (3, 1)) if time else (1, 1)
    return Conv3d(c_in, c_out, (depth, 4, 4), (step, 2, 2), (1 if time else 0, 1, 1))


class PatchDiscriminator(nn.Module):
    """C64, C128, C256 (stride 2), C512 and a logit (stride 1), kernels 4 x 4: a logit for each patch of the clip.

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
            modules.append(strided(channels[i], channels[i + 1], i < halvings, time))
            modules += [clip_norm(norm, channels[i + 1])] if i else []
            modules.append(LeakyReLU(0.2))
        kernel, pad = ((3, 4, 4), 1) if time else ((1, 4, 4), (0, 1, 1))
        modules += [Conv3d(channels[-2], channels[-1], kernel, padding=pad), clip_norm(norm, channels[-1])]
        modules += [LeakyReLU(0.2), Conv3d(channels[-1], 1, kernel, padding=pad)]
        self.layers = nn.Sequential(*modules)
        initialize(self, "dcgan")

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
            modules += [strided(channels[i], channels[i + 1], i < halvings, time), LeakyReLU(0.01)]
        self.layers = nn.Sequential(*modules)
        side, frames = spec.resolution // 2**layers, spec.num_frames // 2**halvings
        depth, pad = (3, 1) if time else (1, (0, 1, 1))
        self.source = Conv3d(channels[-1], 1, (depth, 3, 3), padding=pad, bias=False)
        self.domain = Conv3d(
            channels[-1], max(1, spec.num_classes or 0), (frames, side, spec.aspect * side), bias=False
        )
        initialize(self, "dcgan")

    def forward(self, clip: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """clip (B, C, T, H, W) in [-1, 1] -> real/fake logits (B, 1, T', H', W'), domain logits (B, K); the label is
        not used."""
        features = self.layers(clip)
        return self.source(features), self.domain(features).flatten(1)  # (B, K, 1, 1, 1) -> (B, K)
