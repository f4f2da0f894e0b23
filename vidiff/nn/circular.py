"""Networks that look all around: every convolution sees the columns beyond an edge on the other side.

`make_circular` turns a network as it is, whatever family it is of: weights, names and shapes stay, only what a layer
sees left and right of its input changes. Heights keep their padding: at the poles nothing continues.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.errors import UsageError
from vidiff.sphere import wrap
from vidiff.video.spherical import Frames

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


class _CircularConv:
    """In front of a convolution whose padding left and right was taken from it: `wrap` columns of the other side."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(wrap(x, self.wrap), weight, bias)


class _CircularTransposed:
    """In front of a transposed convolution that multiplies the width by its stride: of a longer input, the middle."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride, width = self.stride[-1], x.shape[-1]
        pad = -(-self.kernel_size[-1] // stride)
        out = super().forward(wrap(x, min(pad, width)), output_size)
        return out.narrow(-1, stride * min(pad, width), stride * width)


class _ReflectionPad(nn.Module):
    """Reflection above and below, the other side's columns left and right."""

    def __init__(self, layer: nn.ReflectionPad2d):
        super().__init__()
        self.left, self.right, self.top, self.bottom = layer.padding

    def forward(self, x: Tensor) -> Tensor:
        wide = wrap(x, max(self.left, self.right))
        wide = wide.narrow(-1, max(self.left, self.right) - self.left, x.shape[-1] + self.left + self.right)
        return F.pad(wide, (0, 0, self.top, self.bottom), "reflect")


class _EachEye:
    """In front of a network of clips: the eyes of (B, C, T, H, 2W) one by one, while `each_eye` is set."""

    each_eye = True

    def forward(self, clip: Tensor, *more: Tensor | None) -> Tensor:
        if not self.each_eye:
            return super().forward(clip, *more)
        eyes = torch.cat(clip.chunk(2, dim=-1))
        out = super().forward(eyes, *(None if x is None else torch.cat([x, x]) for x in more))
        return torch.cat(out.chunk(2), dim=-1)


def projected(network: nn.Module, projection: Frames, each_eye: bool = True) -> nn.Module:
    """The network itself, turned for the projection of its clips.

    Args:
        network: of clips, or several in a ModuleDict.
        projection: `equirectangular`: it looks all around; `stereo`: it sees each eye by itself.
        each_eye: False: it sees both at once, as a discriminator.
    """
    if projection == "equirectangular":
        return make_circular(network)
    if projection == "stereo" and each_eye:
        for part in network.values() if isinstance(network, nn.ModuleDict) else [network]:
            _mix(part, _EachEye)
    return network


def see_single_eyes(network: nn.Module) -> None:
    """Turn a network that was made for both eyes to clips of one, in place."""
    for part in network.modules():
        if isinstance(part, _EachEye):
            part.each_eye = False


def make_circular(network: nn.Module) -> nn.Module:
    """Turn a network, in place: convolutions, transposed ones, padding and enlargement continue across the seam.

    A roll of the input along the width by a multiple of the strides then rolls the output. Layers that make a width of
    nothing (a generator's first) stay. Turned twice is turned once.

    Raises:
        UsageError: a layer places things in a picture with edges.
    """
    for module in network.modules():
        if getattr(module, "flat_only", False):
            raise UsageError(f"projection equirectangular: {type(module).__name__} places things in a flat picture")
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReflectionPad2d):
                setattr(parent, name, _ReflectionPad(child))
    for module in network.modules():
        if hasattr(module, "wraps"):
            module.wraps = True
        if isinstance(module, (_CircularConv, _CircularTransposed)):
            continue
        if isinstance(module, CONVOLUTIONS) and not isinstance(module.padding, str) and module.padding[-1]:
            module.wrap, module.padding = module.padding[-1], (*module.padding[:-1], 0)
            _mix(module, _CircularConv)
        elif isinstance(module, TRANSPOSED) and _enlarges(module):
            _mix(module, _CircularTransposed)
    return network


def _enlarges(layer: nn.ConvTranspose2d | nn.ConvTranspose3d) -> bool:
    """Whether the output's width is the input's times the stride."""
    kernel, pad, more = layer.kernel_size[-1], layer.padding[-1], layer.output_padding[-1]
    return kernel - 2 * pad + more == layer.stride[-1]


def _mix(module: nn.Module, kind: type) -> None:
    """Put a class in front of a module's own; parametrized layers have one each."""
    own = type(module)
    module.__class__ = type(f"{kind.__name__[1:]}_{own.__name__}", (kind, own), {"__module__": __name__})
