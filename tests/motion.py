"""Clips whose motion is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def texture(size: int = 64) -> torch.Tensor:
    """A smooth random picture (1, 3, size, size) in [-1, 1]."""
    coarse = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1) * 2 - 1


def panning(frames: int, size: int, dx: int, dy: int) -> torch.Tensor:
    """A window (1, 3, T, size, size) of a picture whose content moves by (dx, dy) pixels a frame."""
    picture = texture(size + 48)
    cut = [picture[..., 24 - dy * t :, 24 - dx * t :][..., :size, :size] for t in range(frames)]
    return torch.stack(cut, dim=2)


def known(dx: float, dy: float):
    """A method that finds the motion of `panning`, in the direction of the two frames that it is given."""
    state = []

    def method(first, second):
        sign = -1.0 if len(state) % 2 == 0 else 1.0  # `backward_flow` asks for the way back first
        state.append(sign)
        return first.new_tensor([sign * dx, sign * dy])[None, :, None, None].expand(len(first), 2, *first.shape[2:])

    return method
