"""What restores videos without having learned anything: OpenCV's methods, which a network has to be better than."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor

from vidiff.clip import clip_to_thwc, thwc_to_clip

STRENGTHS = (3, 6, 9, 12, 16, 20, 25, 30)
"""Of `non_local_means`, in steps of 8 bits: which is the best depends on the noise, and is chosen for it."""


def has_opencv() -> bool:
    """Whether the methods here can be used (`pip install opencv-python-headless`)."""
    return importlib.util.find_spec("cv2") is not None


def non_local_means(clips: Tensor, strength: float, frames: int = 1) -> Tensor:
    """OpenCV's non-local means in color (Buades, Coll, Morel 2005), patches of 7 in a window of 21 pixels.

    Args:
        clips: uint8 (B, C, T, H, W), C 1 or 3.
        strength: h, of brightness and of color.
        frames: 1: each frame by itself; odd: as many frames are searched for each (fewer at the ends of a clip).
    """
    import cv2

    def denoised(clip: np.ndarray) -> np.ndarray:
        out = []
        for t in range(len(clip)):
            reach = min(frames // 2, t, len(clip) - 1 - t)
            if reach:
                near = list(clip[t - reach : t + reach + 1])
                out.append(
                    cv2.fastNlMeansDenoisingColoredMulti(near, reach, 2 * reach + 1, None, strength, strength, 7, 21)
                )
            else:
                out.append(cv2.fastNlMeansDenoisingColored(clip[t], None, strength, strength, 7, 21))
        return np.stack(out)

    return _each(clips, denoised)


def inpainted(clips: Tensor, lost: Tensor, radius: float = 3.0) -> Tensor:
    """OpenCV's inpainting (Telea 2004) of every frame, told which pixels are lost.

    Args:
        clips: uint8 (B, C, T, H, W), C 1 or 3.
        lost: bool (B, T, H, W).
        radius: pixels around a lost one that it is made of.
    """
    import cv2

    def filled(clip: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.stack([cv2.inpaint(x, m, radius, cv2.INPAINT_TELEA) for x, m in zip(clip, mask)])

    return _each(clips, filled, lost.cpu().to(torch.uint8).numpy())


def _each(clips: Tensor, function, *more: np.ndarray) -> Tensor:
    """A function of color frames (T, H, W, 3) for every clip."""
    out = []
    for clip, *others in zip(clips, *more):
        frames = function(clip_to_thwc(clip.expand(3, -1, -1, -1)), *others)
        out.append(thwc_to_clip(frames)[: clip.shape[0]])
    return torch.stack(out)
