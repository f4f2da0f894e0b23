"""Geometry that Kornia does not bring: a resized crop that keeps the clip's size.

Flip, zoom, rotation and translation are Kornia's own (`RandomHorizontalFlip`, `RandomAffine`).
"""

from __future__ import annotations

import kornia.augmentation as K
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
