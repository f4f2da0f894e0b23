"""How the frames of a clip move through the features of a frozen network: 22 numbers that tell generated from recorded.

The 21 of ReStraV (Interno et al. 2025, arXiv 2507.00583) and the second difference of D3 (Zheng et al. 2025,
arXiv 2508.00701), on features of EfficientNet-Lite0 where the papers have DINOv2's and others'.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.metrics.features import Lite0

SIDE = 64  # pixels that frames are brought to: clips of 32 have no more to show
FRAMES = 8  # evenly spaced ones of a clip: 7 steps, 6 turns


class Trajectory(Lite0):
    """Features of a clip: the lengths of its 7 steps, the angles of its 6 turns, mean, minimum, maximum and variance of
    both, and the standard deviation of the differences of successive lengths (D3)."""

    name = "lite0_64_trajectory"
    dim = 7 + 6 + 8 + 1
    kind = "clips"
    frames_per_clip = FRAMES
    min_frames = FRAMES
    resize = f"{SIDE}x{SIDE} bilinear antialias"

    def features(self, clips: Tensor) -> Tensor:
        frames = F.interpolate(self.pick_frames(clips).float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        maps = self.net.forward_features((frames / 255 - 0.5) / 0.5)
        points = self.net.forward_head(maps, pre_logits=True)  # (B * 8, 1280)
        return trajectory(points.reshape(len(clips), FRAMES, -1))


def trajectory(points: Tensor) -> Tensor:
    """Paths (B, 8, D) -> (B, 22); angles in radians, pi / 2 where a step has no length."""
    steps = points.diff(dim=1)  # (B, 7, D)
    lengths = steps.norm(dim=2)
    dots = (steps[:, 1:] * steps[:, :-1]).sum(2)
    angles = (dots / (lengths[:, 1:] * lengths[:, :-1]).clamp(min=1e-8)).clamp(-1, 1).acos()  # (B, 6)
    facts = [f(x) for x in (lengths, angles) for f in (_mean, _min, _max, _variance)]
    second = lengths.diff(dim=1).std(dim=1, correction=0)
    return torch.cat([lengths, angles, torch.stack([*facts, second], 1)], 1)


def _mean(x: Tensor) -> Tensor:
    return x.mean(1)


def _min(x: Tensor) -> Tensor:
    return x.amin(1)


def _max(x: Tensor) -> Tensor:
    return x.amax(1)


def _variance(x: Tensor) -> Tensor:
    return x.var(dim=1, correction=0)
