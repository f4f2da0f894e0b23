"""Distances along one line: the sliced Wasserstein distance of features, and that of a single number a clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidiff.metrics.frechet import Array, as_float64

DIRECTIONS = 512


def _quantiles(x: Tensor, count: int) -> Tensor:
    """Sorted values (N, K) -> the quantiles at the middles of `count` equal shares (count, K): all N where they fit."""
    at = (torch.arange(count, dtype=torch.float64) + 0.5) / count * len(x) - 0.5
    low = at.floor().clamp(0, len(x) - 1).long()
    high = (low + 1).clamp(max=len(x) - 1)
    share = (at - low).clamp(0, 1)[:, None]
    return x[low] * (1 - share) + x[high] * share


def sliced_wasserstein(real: Array, fake: Array, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Sliced squared 2-Wasserstein distance: D x the mean over random unit vectors u of W2^2(u.x, u.y).

    Rabin, Peyre, Delon and Bernot 2011; on features of networks as an alternative to FID that needs fewer samples:
    Deshpande, Zhang and Schwing 2018 (arXiv 1803.11188). In one dimension W2 is the distance of sorted values, so no
    covariance is estimated and nothing is assumed to be Gaussian. D x makes it |m1 - m2|^2 for sets that differ by a
    shift, as in a Fréchet distance.

    Args:
        real, fake: features (N, D) and (M, D).
        directions: number of vectors.
        seed: of the vectors.
    """
    x, y = as_float64(real), as_float64(fake)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a sliced distance needs at least 2 samples a side, got {len(x)} and {len(y)}")
    d = x.shape[1]
    u = torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal((d, directions)))
    u = u / u.norm(dim=0)
    count = max(len(x), len(y))
    a, b = (_quantiles((side @ u).sort(0)[0], count) for side in (x, y))
    return float(d * (a - b).square().mean())


def wasserstein(real: Array, fake: Array) -> float:
    """1-Wasserstein distance of single numbers (N, 1) and (M, 1): the mean distance of their quantiles.

    Of motion or flicker a clip it says how differently two sets are distributed, in the unit of the numbers: a ratio
    of means is right also where half of the clips stand still and the others move twice too much.
    """
    x, y = as_float64(real), as_float64(fake)
    count = max(len(x), len(y))
    a, b = (_quantiles(side.sort(0)[0], count) for side in (x, y))
    return float((a - b).abs().mean())
