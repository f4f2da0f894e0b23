"""Average content distance of moving shapes: does a shape keep its colour from frame to frame?"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from vidiff.metrics.features import Extractor, check_clips

# Grey levels: what is brighter in some channel belongs to the shape; the background of `mocogan_shapes` is exactly 0.
THRESHOLD = 32


def acd_shapes(clips: Tensor) -> Tensor:
    """The mean L2 distance between the mean colours of the shape in two frames, over all pairs of frames of a clip.

    Tulyakov, Liu, Yang, Kautz 2018, "MoCoGAN", 1707.04993, section 4: "the average pairwise L2 distance of the
    per-frame average color vectors" of the generated shape. Published for clips of 16 frames: real 0, VGAN 5.02,
    TGAN 2.08, MoCoGAN 1.79. Small is good, but a still picture has a perfect 0: read it beside motion and diversity.

    How the shape is found in a frame is not published; here it is every pixel with a channel above 32 of 255. A frame
    without one counts as black: a shape that vanishes has changed its content.

    Args:
        clips: uint8 (B, C, T, H, W) of a bright shape on black, T >= 2; grey is three equal channels.

    Returns:
        float64 (B,), in grey levels 0..255.
    """
    clips = check_clips(clips)
    t = clips.shape[2]
    if t < 2:
        raise ValueError(f"ACD needs clips of at least 2 frames, got {tuple(clips.shape)}")
    shape = (clips > THRESHOLD).any(1, keepdim=True)  # (B, 1, T, H, W)
    total = (clips * shape).sum((3, 4)).double()  # (B, 3, T)
    colours = (total / shape.sum((3, 4)).clamp(min=1)).transpose(1, 2)  # (B, T, 3)
    distances = (colours[:, :, None] - colours[:, None]).norm(dim=-1)  # (B, T, T), its diagonal is 0
    return distances.sum((1, 2)) / (t * (t - 1))


class ShapeColors(Extractor):
    """`acd_shapes` of a clip (D = 1)."""

    name = "shape_colours"  # as in the protocols that are recorded
    dim = 1
    min_frames = 2
    sha256 = hashlib.sha256(f"pairwise L2 of mean colours, any channel > {THRESHOLD}".encode()).hexdigest()

    def features(self, clips: Tensor) -> Tensor:
        return torch.stack([acd_shapes(clip[None]) for clip in clips]).float()  # one at a time: small memory; (B, 1)
