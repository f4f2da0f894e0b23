"""The tensor contract: layouts, value ranges and the only conversions between them.

A *clip* inside `models/` and `nn/` is float `(B, C, T, H, W)` in [-1, 1]. Augmentation and pixel measures work in
[0, 1]. Loaders, files, metric inputs and loggers carry uint8. Decoders speak `(T, H, W, C)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ClipSpec:
    """Everything a network has to know to be built for a data set.

    Args:
        channels: image channels C.
        num_frames: frames T of a clip.
        resolution: height H in pixels; the width W is the same, of other projections twice that.
        width: base number of channels of the network.
        latent_dim: length of the latent vector z (0 for networks without one).
        num_classes: number of labels K, or None when the model is unconditional.
        projection: `equirectangular` of clips that show all around, `stereo` of two eyes side by side, else `flat`.
    """

    channels: int = 3
    num_frames: int = 16
    resolution: int = 32
    width: int = 32
    latent_dim: int = 100
    num_classes: int | None = None
    projection: str = "flat"

    @property
    def aspect(self) -> int:
        """Width over height."""
        return 1 if self.projection == "flat" else 2


def uint8_to_unit(clip: Tensor) -> Tensor:
    """uint8 0..255 -> float32 [0, 1]."""
    if clip.dtype != torch.uint8:
        raise ValueError(f"expected a uint8 clip, got {clip.dtype}")
    return clip.float() / 255.0


def unit_to_signed(clip: Tensor) -> Tensor:
    """float [0, 1] -> float [-1, 1]."""
    return clip * 2.0 - 1.0


def signed_to_unit(clip: Tensor) -> Tensor:
    """float [-1, 1] -> float [0, 1], clamped."""
    return ((clip + 1.0) * 0.5).clamp(0.0, 1.0)


def signed_to_uint8(clip: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 0..255, rounded to nearest (never truncated)."""
    return (clip.float() * 127.5 + 128.0).clamp(0, 255).to(torch.uint8)


def thwc_to_clip(frames: np.ndarray) -> Tensor:
    """Decoded frames (T, H, W, C) uint8 -> clip (C, T, H, W) uint8: the permutation on the way in."""
    if frames.ndim != 4 or frames.dtype != np.uint8:
        raise ValueError(f"expected uint8 (T, H, W, C), got {frames.dtype} {frames.shape}")
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))


def clip_to_thwc(clip: Tensor) -> np.ndarray:
    """Clip (C, T, H, W) uint8 -> frames (T, H, W, C) uint8: the permutation on the way out."""
    if clip.ndim != 4 or clip.dtype != torch.uint8:
        raise ValueError(f"expected a uint8 clip (C, T, H, W), got {clip.dtype} {tuple(clip.shape)}")
    return np.ascontiguousarray(clip.permute(1, 2, 3, 0).cpu().numpy())


def clip_to_frames(clip: Tensor) -> Tensor:
    """Clips (B, C, T, H, W) -> frames (B*T, C, H, W), the frames of one clip adjacent."""
    b, c, t, h, w = clip.shape
    return clip.transpose(1, 2).reshape(b * t, c, h, w)


def frames_to_clip(frames: Tensor, num_frames: int) -> Tensor:
    """Frames (B*T, C, H, W) -> clips (B, C, T, H, W): the inverse of `clip_to_frames`."""
    n, c, h, w = frames.shape
    return frames.reshape(n // num_frames, num_frames, c, h, w).transpose(1, 2)


def eyes_as_frames(clip: Tensor) -> Tensor:
    """Two eyes side by side (B, C, T, H, 2W) -> (B*T, C, 2, H, W): the left and the right one as two frames of a clip,
    so that what holds for motion holds for disparity."""
    both = torch.stack(clip.chunk(2, dim=-1), dim=2)  # (B, C, 2, T, H, W)
    return both.permute(0, 3, 1, 2, 4, 5).flatten(0, 1)
