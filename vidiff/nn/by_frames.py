"""Layers of clip-to-clip networks on a list of frames, where no gradient is needed: a large clip at a fraction of the
memory and of the time, with the same values up to rounding.

Every frame has its channels last in memory, as oneDNN's kernels for odd widths want it; a norm over the clip and what
follows change frames in place; a layer's input is freed while its output is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.nn.blocks import Conv3d, ConvTranspose3d
from vidiff.nn.clip_layers import ClipConv, Double, FrameNorm, ResidualBlock
from vidiff.sphere import wrap

Frames = list[Tensor]  # (B, C, H, W) each; a function that gets such a list may empty it


@contextmanager
def frame_by_frame(network: nn.Module) -> Iterator[None]:
    """Inside the block, parts of a network that can (see `by_frames` of `ResnetGenerator`) run so."""
    parts = [part for part in network.modules() if hasattr(part, "by_frames")]
    for part in parts:
        part.by_frames = True
    try:
        yield
    finally:
        for part in parts:
            del part.by_frames  # the class has False


def through(layers: nn.Sequential, clip: Tensor) -> Tensor:
    """`layers(clip)` of a clip (B, C, T, H, W), which is not changed; the first of them has to be a convolution."""
    frames = [_channels_last(frame) for frame in clip.unbind(2)]
    return torch.stack(_through(layers, frames), dim=2)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _through(layer: nn.Module, frames: Frames) -> Frames:
    if isinstance(layer, nn.Sequential):
        for part in layer:
            frames = _through(part, frames)
        return frames
    if isinstance(layer, ResidualBlock):
        return [out.add_(x) for x, out in zip(frames, _through(layer.layers, list(frames)))]
    if isinstance(layer, nn.ReLU | nn.Tanh):
        return [x.relu_() if isinstance(layer, nn.ReLU) else x.tanh_() for x in frames]
    if isinstance(layer, nn.Identity):
        return frames
    if isinstance(layer, FrameNorm):
        return [x for frame in frames for x in _normalized([frame], 1e-5)]
    if type(layer) is nn.InstanceNorm3d and not layer.track_running_stats:
        return _normalized(frames, layer.eps, layer.weight, layer.bias)
    return _resampled(layer, frames)


def _resampled(layer: nn.Module, frames: Frames) -> Frames:
    if isinstance(layer, ClipConv) and type(layer.space) is Conv3d and layer.space.kernel_size[0] == 1:
        return list(_convolved(layer, frames))
    if isinstance(layer, Double) and not layer.wraps:  # the same weights, 3/4 and 1/4
        return list(_each(frames, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)))
    if type(layer) is ConvTranspose3d and layer.kernel_size[0] == 1:
        weight = _channels_last(layer.weight.squeeze(2))
        sizes = [side[1:] for side in (layer.stride, layer.padding, layer.output_padding)]
        return list(_each(frames, lambda x: F.conv_transpose2d(x, weight, layer.bias, *sizes)))
    clip = torch.stack(frames, dim=2)
    frames.clear()
    return [_channels_last(x) for x in layer(clip).unbind(2)]


def _each(frames: Frames, function) -> Iterator[Tensor]:
    """The function's output for each frame, which is let go of."""
    frames.reverse()
    while frames:
        yield function(frames.pop())


def _convolved(layer: ClipConv, frames: Frames) -> Iterator[Tensor]:
    """The frames behind a `ClipConv`, each made when it is due: of those in between, three are held."""
    space, weight, count = layer.space, _channels_last(layer.space.weight.squeeze(2)), len(frames)

    def convolved(x: Tensor) -> Tensor:
        if side := layer.side:
            x, across = (wrap(x, side), 0) if layer.wraps else (x, side)
            x = F.pad(x, (across, across, side, side), layer.mode)
        return F.conv2d(_channels_last(x), weight, space.bias, space.stride[1:], space.padding[1:])

    made = _each(frames, convolved)
    if layer.time is None:
        yield from made
        return
    taps = layer.time.weight[:, :, :, 0, 0].permute(2, 1, 0).contiguous()  # (time, C, C')
    near: dict[int, Tensor] = {}  # frame -> its rows (B * H * W, C)
    there = 0
    for t in range(count):
        while there < min(count, t + layer.radius + 1):
            x = next(made)
            near[there], there = x.permute(0, 2, 3, 1).flatten(0, 2), there + 1
        out = None
        for k, tap in enumerate(taps):
            rows = near[min(max(t + k - layer.radius, 0), count - 1)]
            out = _first(layer.time.bias, rows, tap) if out is None else out.addmm_(rows, tap)
        near.pop(t - layer.radius, None)
        yield out.view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)


def _first(bias: Tensor | None, rows: Tensor, tap: Tensor) -> Tensor:
    return rows @ tap if bias is None else torch.addmm(bias, rows, tap)


def _normalized(frames: Frames, eps: float, weight: Tensor | None = None, bias: Tensor | None = None) -> Frames:
    """(x - mean) / sqrt(var + eps), statistics over all frames, in place, with a scale and a shift where there are.

    The first frame's mean is taken off before: what is left is small where the variance is, so that the difference
    E x^2 - (E x)^2, summed in float64 over the frames, loses nothing.
    """
    start = frames[0].mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    count = len(frames) * frames[0].shape[2] * frames[0].shape[3]
    total = squares = 0.0
    for x in frames:
        x.sub_(start)
        total = total + x.sum((2, 3), keepdim=True).double()
        squares = squares + x.square().sum((2, 3), keepdim=True).double()
    mean = total / count
    scale = (squares / count - mean.square()).clamp_min_(0).add_(eps).rsqrt()
    shift = -mean * scale
    if weight is not None:
        scale, shift = scale * weight[:, None, None], shift * weight[:, None, None]
    if bias is not None:
        shift = shift + bias[:, None, None]
    scale, shift = scale.to(start.dtype), shift.to(start.dtype)
    return [x.mul_(scale).add_(shift) for x in frames]
