"""What clip-to-clip networks are made of: convolutions over space and time, norms, residual blocks, doubled sides."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.nn.blocks import Conv3d, ConvTranspose3d
from vidiff.sphere import wrap

Conv = Literal["full", "factorized"]
Padding = Literal["replicate", "reflect", "zeros"]
ClipNorm = Literal["instance", "frame", "none"]
Up = Literal["transposed", "resize"]


class ClipConv(nn.Module):
    """A convolution over space and, with `time` 3, over time; keeps T, and H and W up to the stride.

    `full` has kernels time x k x k; `factorized` a spatial 1 x k x k followed by a temporal time x 1 x 1 (Tran et al.
    2018, 1711.11248, without the activation between) that begins as the identity, so that a new network works frame by
    frame. In time the clip's first and last frame are repeated, whatever the padding in space.

    Args:
        c_in, c_out: channels.
        kernel: k; odd for stride 1.
        stride: in space.
        time: length of the kernel in time, 1 or 3.
        conv: `full` or `factorized`.
        padding: in space; strided convolutions have zeros, as published.
    """

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        stride: int = 1,
        time: int = 3,
        conv: Conv = "factorized",
        padding: Padding = "replicate",
        bias: bool = True,
    ):
        super().__init__()
        if conv not in ("full", "factorized"):
            raise ValueError(f"conv must be full or factorized, got {conv!r}")
        self.radius, split = time // 2, conv == "factorized" and time > 1
        side = (kernel - 1) // 2
        own = side if stride > 1 or padding == "zeros" else 0  # padding that the convolution does by itself
        self.side, self.mode, self.wraps = side - own, padding, False  # see `vidiff.nn.circular`
        depth = 1 if split else time
        self.space = Conv3d(
            c_in, c_out, (depth, kernel, kernel), (1, stride, stride), (0, own, own), bias=bias and not split
        )
        self.time = Conv3d(c_out, c_out, (time, 1, 1), bias=bias) if split else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H / stride, W / stride)."""
        if self.side:
            x, across = (wrap(x, self.side), 0) if self.wraps else (x, self.side)
            x = F.pad(x, (across, across, self.side, self.side, 0, 0), self.mode)
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

    in_order = True  # its children run one after another: a receptive field can be added up
    recomputed = True  # see `vidiff.nn.recompute`

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


class Double(nn.Module):
    """Bilinear interpolation to twice the sides, as pixel repetition and the kernel (1, 2, 1) / 4 each way: made of
    operations whose gradient is the same every time on a GPU, too."""

    wraps = False  # see `vidiff.nn.circular`

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, 2H, 2W)."""
        for dim in (-1, -2):
            first, last = x.narrow(dim, 0, 1), x.narrow(dim, -1, 1)
            if self.wraps and dim == -1:
                first, last = last, first
            before = torch.cat([first, x.narrow(dim, 0, x.shape[dim] - 1)], dim)
            after = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), last], dim)
            x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim).flatten(dim - 1, dim)
        return x


class _Resized(nn.Sequential):
    recomputed = True  # see `vidiff.nn.recompute`


def doubling(up: Up, c_in: int, c_out: int, kernel: int, conv: dict) -> nn.Module:
    """A layer that doubles H and W, frame by frame.

    `transposed`: a strided transposed convolution, as published. Its kernel covers neighbouring pixels unequally often,
    which leaves a grid of every other pixel. `resize`: bilinear interpolation, then a 3 x 3 convolution, which does not
    (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").
    """
    if up == "transposed":
        extra = kernel % 2  # an odd kernel needs a row and a column more to double the size
        return ConvTranspose3d(
            c_in, c_out, (1, kernel, kernel), (1, 2, 2), (0, 1, 1), (0, extra, extra), bias=conv["bias"]
        )
    if up == "resize":
        return _Resized(Double(), ClipConv(c_in, c_out, 3, **conv))
    raise ValueError(f"up must be transposed or resize, got {up!r}")
