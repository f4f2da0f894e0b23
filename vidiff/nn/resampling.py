"""Clips of twice or half the size, by operations whose derivative is deterministic on every device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def enlarge(x: Tensor, time: bool) -> Tensor:
    """(B, C, T, H, W) -> twice the size in space, and in time where `time`: nearest neighbor."""
    return F.interpolate(x, scale_factor=(2.0 if time else 1.0, 2.0, 2.0), mode="nearest")


def shrink(x: Tensor, time: bool) -> Tensor:
    """(B, C, T, H, W) -> half the size in space, and in time where `time`: mean over 2x2(x2).

    An odd last frame is repeated. Equal to bilinear interpolation at this factor.
    """
    b, c, t, h, w = x.shape
    if time and t % 2:
        x = torch.cat([x, x[:, :, -1:]], dim=2)
    step = 2 if time else 1
    x = x.reshape(b, c, -1, step, h // 2, 2, w // 2, 2)  # (B, C, T/2, 2, H/2, 2, W/2, 2)
    return x.mean((3, 5, 7))


def thin_out(clip: Tensor, space: int, time: int) -> Tensor:
    """(B, C, T, H, W) -> (B, C, ceil(T / time), H / space, W / space): mean over squares, every `time`-th frame."""
    clip = clip[:, :, ::time]
    b, c, t, h, w = clip.shape
    return clip.reshape(b, c, t, h // space, space, w // space, space).mean((4, 6))
