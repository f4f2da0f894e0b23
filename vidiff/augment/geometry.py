"""Geometry that Kornia does not bring: a resized crop that keeps the clip's size, and a warp that differentiates twice.

Flip, zoom, rotation and translation are Kornia's own (`RandomHorizontalFlip`, `RandomAffine`).
"""

from __future__ import annotations

import kornia.augmentation as K
import torch
from kornia.augmentation.random_generator import ResizedCropGenerator
from torch import Tensor


class ResizedCrop(K.RandomResizedCrop):
    """Cut a random box out of the picture and enlarge it to the size the clip had.

    Kornia's `RandomResizedCrop`, but the size need not be known in advance, and every clip decides by itself whether
    it is cropped (Kornia decides once per batch).

    Args:
        scale: range of the box's share of the area, within (0, 1].
        ratio: range of the box's width / height.
        p: probability per clip.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.6, 1.0),
        ratio: tuple[float, float] = (0.9, 1.1),
        p: float = 0.5,
    ) -> None:
        super().__init__((1, 1), tuple(scale), tuple(ratio), cropping_mode="resample")
        self.p, self.p_batch = p, 1.0
        self._param_generator = None  # Kornia's is bound to a size
        del self.flags["size"]
        self.flags.update(scale=tuple(scale), ratio=tuple(ratio))

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        generator = ResizedCropGenerator(tuple(batch_shape[-2:]), self.flags["scale"], self.flags["ratio"])
        return generator(batch_shape, self.same_on_batch)

    def apply_transform(self, input: Tensor, params: dict, flags: dict, transform: Tensor | None = None) -> Tensor:
        return super().apply_transform(input, params, {**flags, "size": tuple(input.shape[-2:])}, transform)


def warp(clip: Tensor, matrix: Tensor) -> Tensor:
    """Bilinear warp with reflected borders: pixel q of the result is read at `matrix @ q`, pixels from the middle.

    Four gathers with constant weights instead of `grid_sample`, which has no second derivative on every backend and
    no deterministic backward on CUDA.

    Args:
        clip: float (B, C, T, H, W), the same warp for all frames.
        matrix: float (B, 3, 3), maps (x, y, 1) of the result to the source, in pixels from the centre.
    """
    b, c, t, h, w = clip.shape
    x = torch.arange(w, device=clip.device) - (w - 1) / 2
    y = torch.arange(h, device=clip.device) - (h - 1) / 2
    matrix = matrix.to(clip.device, torch.float32)[:, :, :, None, None]  # (B, 3, 3, 1, 1)
    sx = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y[:, None] + matrix[:, 0, 2] + (w - 1) / 2  # (B, H, W)
    sy = matrix[:, 1, 0] * x + matrix[:, 1, 1] * y[:, None] + matrix[:, 1, 2] + (h - 1) / 2
    x0, y0 = sx.floor(), sy.floor()
    fx, fy = (sx - x0).to(clip.dtype), (sy - y0).to(clip.dtype)
    flat = clip.reshape(b, c * t, h * w)

    def corner(dx: int, dy: int, weight: Tensor) -> Tensor:
        index = _reflect(y0 + dy, h) * w + _reflect(x0 + dx, w)  # (B, H, W)
        index = index.reshape(b, 1, h * w).expand(b, c * t, h * w)
        return flat.gather(2, index) * weight.reshape(b, 1, h * w)

    out = corner(0, 0, (1 - fx) * (1 - fy)) + corner(1, 0, fx * (1 - fy))
    out = out + corner(0, 1, (1 - fx) * fy) + corner(1, 1, fx * fy)
    return out.view(b, c, t, h, w)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Whole numbers mirrored about the centres of the first and the last pixel into 0..size-1."""
    if size == 1:
        return torch.zeros_like(index, dtype=torch.long)
    index = index.long().abs() % (2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)
