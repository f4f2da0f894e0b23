"""Plain pixel measures beside every Fréchet distance: motion, flicker, grid, diversity, the nearest training clip."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.metrics.features import Extractor
from vidiff.metrics.frechet import Array, as_float64
from vidiff.metrics.paired import flicker, grid_peak
from vidiff.sphere import seam_ratio


class FrameDifference(Extractor):
    """Motion of a clip: mean |x_t - x_(t-1)| over pixels, channels and pairs of frames, in grey levels 0..255 (D = 1).

    Reported as the ratio of the generated to the real mean: 0 is a still, 1 is right, far above 1 is flicker.
    """

    name = "frame_difference"
    dim = 1
    min_frames = 2
    sha256 = hashlib.sha256(b"mean |x_t - x_(t-1)|, 0..255").hexdigest()

    def features(self, clips: Tensor) -> Tensor:
        if clips.shape[2] < 2:
            raise ValueError(f"motion needs clips of at least 2 frames, got {tuple(clips.shape)}")
        total = torch.zeros(len(clips), dtype=torch.float64, device="cpu")
        for t in range(1, clips.shape[2]):  # one pair at a time: no float copy of the clip
            total += (clips[:, :, t].short() - clips[:, :, t - 1].short()).abs().float().mean((1, 2, 3)).double().cpu()
        return (total / (clips.shape[2] - 1)).float()[:, None]


class SecondDifference(Extractor):
    """Flicker of a clip, see `vidiff.metrics.paired.flicker` (D = 1), reported as the ratio of the means.

    Even movement has little of it, and what changes at random from frame to frame almost as much as of motion: beside a
    motion that is right, a ratio far above 1 says that the frames do not belong together.
    """

    name = "second_difference"
    dim = 1
    min_frames = 3
    sha256 = hashlib.sha256(b"mean |x_(t-1) - 2 x_t + x_(t+1)| / 2, 0..1").hexdigest()

    def features(self, clips: Tensor) -> Tensor:
        return flicker(clips)[:, None]


class GridPeak(Extractor):
    """The grid of a clip, see `vidiff.metrics.paired.grid_peak` (D = 1), reported as the ratio of the means."""

    name = "grid_peak"
    dim = 1
    min_size = 16
    sha256 = hashlib.sha256(b"energy at periods 2 and 4 over that of the frequencies beside them").hexdigest()

    def features(self, clips: Tensor) -> Tensor:
        return grid_peak(clips)[:, None]


class SeamRatio(Extractor):
    """The seam of a panorama, see `vidiff.sphere.seam_ratio` (D = 1): its mean, that of real clips beside it."""

    name = "seam_ratio"
    dim = 1
    sha256 = hashlib.sha256(b"|first - last column| over mean |column difference|, weighted by latitude").hexdigest()

    def features(self, clips: Tensor) -> Tensor:
        return seam_ratio(clips)[:, None]


class Thumbnail(Extractor):
    """A clip averaged down to 4 x 16 x 16 in [0, 1], scaled so that a Euclidean distance is a root mean square
    difference: the space of `diversity` and `nearest` (D = 3072)."""

    name = "pixels_4x16x16"
    dim = 3 * 4 * 16 * 16
    sha256 = hashlib.sha256(b"adaptive mean 4x16x16, [0, 1], / sqrt(D)").hexdigest()
    resize = "mean pooled to 4x16x16"

    def features(self, clips: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(clips.float() / 255, (4, 16, 16)).flatten(1) / self.dim**0.5


def mean_pair_distance(features: Array, seed: int = 0, neighbours: int = 8) -> float:
    """Mean Euclidean distance between different rows of features (N, D), over at most 8 N seeded pairs.

    The rows are put on a seeded ring and each is paired with its next `neighbours`, so every clip counts equally.
    """
    x = as_float64(features)
    n = len(x)
    if n < 2:
        raise ValueError(f"a distance between clips needs at least 2 clips, got {n}")
    x = x[torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).permutation(n))]
    steps = range(1, min(neighbours, n - 1) + 1)
    return float(np.mean([float((x - x.roll(-s, 0)).norm(dim=1).mean()) for s in steps]))
