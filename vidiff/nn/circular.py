"""Networks that look all around: every convolution sees the columns beyond an edge on the other side.

`make_circular` turns a network as it is, whatever family it is of: weights, names and shapes stay, only what a layer
sees left and right of its input changes. Heights keep their padding: at the poles nothing continues.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.errors import UsageError
from vidiff.sphere import wrap
from vidiff.video.spherical import Projection

CONVOLUTIONS: dict[type, Callable[..., Tensor]] = {nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


class _Conv:
    """In front of a convolution: its zeros left and right become the other side's columns."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve = next(f for kind, f in CONVOLUTIONS.items() if isinstance(self, kind))
        x = wrap(x, self.padding[-1])
        return convolve(x, weight, bias, self.stride, (*self.padding[:-1], 0), self.dilation, self.groups)


class _Transposed:
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


def projected(network: nn.Module, projection: Projection) -> nn.Module:
    """The network itself, made to look all around where that is the projection."""
    return make_circular(network) if projection == "equirectangular" else network


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
        if isinstance(module, (_Conv, _Transposed)):
            continue
        if isinstance(module, tuple(CONVOLUTIONS)) and not isinstance(module.padding, str) and module.padding[-1]:
            _mix(module, _Conv)
        elif isinstance(module, TRANSPOSED) and _enlarges(module):
            _mix(module, _Transposed)
    return network


def _enlarges(layer: nn.ConvTranspose2d | nn.ConvTranspose3d) -> bool:
    """Whether the output's width is the input's times the stride."""
    kernel, pad, more = layer.kernel_size[-1], layer.padding[-1], layer.output_padding[-1]
    return kernel - 2 * pad + more == layer.stride[-1]


def _mix(module: nn.Module, kind: type) -> None:
    """Put a class in front of a module's own; parametrized layers have one each."""
    own = type(module)
    module.__class__ = type(f"Circular{own.__name__}", (kind, own), {"__module__": __name__})
