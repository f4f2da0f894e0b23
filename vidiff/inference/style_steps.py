"""The first and the last of the four steps of style transfer: from a film's frame to what is worked on, and back."""

from __future__ import annotations

from dataclasses import dataclass

import kornia.filters as KF
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_thwc, signed_to_uint8, thwc_to_clip, uint8_to_unit, unit_to_signed

SMALLEST = 32  # pixels of the shorter side that features are taken of
LUMA = (0.299, 0.587, 0.114)  # of BT.601


@dataclass(frozen=True)
class Steps:
    """What is done before and after the transfer.

    Args:
        resolution: pixels of the shorter side that is worked at; smaller frames are worked at as they are.
        keep_color: transfer brightness only, Y of BT.601; color differences stay the source's.
        denoise: smooth noise away before (bilateral filter).
        sharpen: sharpen afterwards (unsharp mask).
        device: where to work.
    """

    resolution: int
    keep_color: bool = False
    denoise: bool = False
    sharpen: bool = False
    device: torch.device = torch.device("cpu")

    def pre_process(self, image: np.ndarray) -> Tensor:
        """A frame, uint8 (H, W, 3) -> what is worked on, float (1, 3, h, w) in [-1, 1]."""
        x = signed(image).to(self.device)
        size = working_size(*x.shape[2:], self.resolution)
        if size != tuple(x.shape[2:]):
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        if self.denoise:
            x = KF.bilateral_blur(x, (5, 5), 0.3, (1.5, 1.5))
        return brightness(x).expand(-1, 3, -1, -1) if self.keep_color else x

    def post_process(self, image: np.ndarray, result: Tensor) -> np.ndarray:
        """The result for a frame, float (1, 3, h, w), at the frame's own size, uint8 (H, W, 3)."""
        source = signed(image).to(result)
        if result.shape[2:] != source.shape[2:]:
            result = F.interpolate(result, source.shape[2:], mode="bicubic", antialias=True)
        if self.sharpen:
            result = KF.unsharp_mask(result, (5, 5), (1.5, 1.5))
        if self.keep_color:  # one addend for all three colors leaves their differences alone
            result = source + brightness(result) - brightness(source)
        return clip_to_thwc(signed_to_uint8(result.clamp(-1, 1)).transpose(0, 1))[0]


def working_size(height: int, width: int, resolution: int) -> tuple[int, int]:
    """(height, width) to work at: the shorter side `resolution`, not more than it has, at least 32."""
    scale = max(SMALLEST, min(resolution, height, width)) / min(height, width)
    return round(height * scale), round(width * scale)


def signed(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float (1, 3, H, W) in [-1, 1]."""
    return unit_to_signed(uint8_to_unit(thwc_to_clip(image[None]))).transpose(0, 1)  # (3, 1, H, W) -> (1, 3, H, W)


def brightness(frames: Tensor) -> Tensor:
    """Y of BT.601 of frames (N, 3, H, W): (N, 1, H, W)."""
    return (frames * frames.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
