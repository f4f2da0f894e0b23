"""Bilinear warps of pictures, by a flow or by a matrix.

By gather and constant weights instead of `grid_sample`, which has no deterministic backward on CUDA and no second
derivative on every backend.
"""

from __future__ import annotations

import torch
from torch import Tensor


def read_pixels(pictures: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """pictures (N, C, H, W) at whole places x, y, int64 (N, H', W') inside of them -> (N, C, H', W')."""
    n, c, _, w = pictures.shape
    index = (y * w + x).reshape(n, 1, -1).expand(-1, c, -1)
    return pictures.reshape(n, c, -1).gather(2, index).view(n, c, *x.shape[1:])


def flow_targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    """p + flow(p) for flow (N, 2, H, W) = (x, y) in pixels: x and y (N, H, W)."""
    h, w = flow.shape[2:]
    x = torch.arange(w, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(h, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return x, y


def warp_by_flow(frames: Tensor, flow: Tensor) -> Tensor:
    """frames(p + flow(p)), bilinear; beyond the border the border goes on.

    Args:
        frames: (N, C, H, W).
        flow: (N, 2, H, W) = (x, y) in pixels.
    """
    h, w = frames.shape[2:]
    x, y = flow_targets(flow)
    x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
    left, top = x.floor().long(), y.floor().long()
    right, down = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    part_x, part_y = ((v - v.floor()).unsqueeze(1).to(frames.dtype).expand_as(frames) for v in (x, y))
    above = torch.lerp(read_pixels(frames, left, top), read_pixels(frames, right, top), part_x)
    below = torch.lerp(read_pixels(frames, left, down), read_pixels(frames, right, down), part_x)
    return torch.lerp(above, below, part_y)


def warp_by_matrix(clip: Tensor, matrix: Tensor) -> Tensor:
    """Pixel q of the result is read at `matrix @ q`, pixels from the middle, bilinear with reflected borders.

    Args:
        clip: float (B, C, T, H, W), the same warp for all frames.
        matrix: float (B, 3, 3), maps (x, y, 1) of the result to the source, in pixels from the center.
    """
    b, c, t, h, w = clip.shape
    x = torch.arange(w, device=clip.device) - (w - 1) / 2
    y = torch.arange(h, device=clip.device) - (h - 1) / 2
    matrix = matrix.to(clip.device, torch.float32)[:, :, :, None, None]  # (B, 3, 3, 1, 1)
    sx = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y[:, None] + matrix[:, 0, 2] + (w - 1) / 2  # (B, H, W)
    sy = matrix[:, 1, 0] * x + matrix[:, 1, 1] * y[:, None] + matrix[:, 1, 2] + (h - 1) / 2
    x0, y0 = sx.floor(), sy.floor()
    fx, fy = (sx - x0).to(clip.dtype)[:, None], (sy - y0).to(clip.dtype)[:, None]  # (B, 1, H, W)
    (left, right), (top, bottom) = (_reflect(x0, w), _reflect(x0 + 1, w)), (_reflect(y0, h), _reflect(y0 + 1, h))
    pictures = clip.reshape(b, c * t, h, w)
    out = read_pixels(pictures, left, top) * ((1 - fx) * (1 - fy)) + read_pixels(pictures, right, top) * (fx * (1 - fy))
    out = out + read_pixels(pictures, left, bottom) * ((1 - fx) * fy) + read_pixels(pictures, right, bottom) * (fx * fy)
    return out.view(b, c, t, h, w)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Whole numbers mirrored about the centers of the first and the last pixel into 0..size-1."""
    if size == 1:
        return torch.zeros_like(index, dtype=torch.long)
    index = index.long().abs() % (2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)
