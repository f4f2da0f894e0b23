"""Kernel distance (KID, KVD): an unbiased squared MMD between two feature sets."""

from __future__ import annotations

import torch
from torch import Tensor

from vidiff.metrics.frechet import Array, as_float64


def _kernel_sum(x: Tensor, y: Tensor, chunk: int) -> float:
    total = 0.0
    for i in range(0, len(x), chunk):
        total += float((x[i : i + chunk] @ y.T / x.shape[1] + 1.0).pow(3).sum())
    return total


def kernel_distance(real: Array, fake: Array, chunk: int = 1024) -> float:
    """Unbiased squared MMD with k(x, y) = (x.y/D + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401), on full sets.

    The diagonal is left out, so two sets of one distribution give 0 on average, and small negative values are normal.

    Args:
        real, fake: features (N, D) and (M, D), N and M at least 2.
        chunk: rows of the kernel matrix held at once.
    """
    x, y = as_float64(real), as_float64(fake)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"a kernel distance needs at least 2 samples a side, got {n} and {m}")
    diagonal_x = float((x.square().sum(1) / x.shape[1] + 1.0).pow(3).sum())
    diagonal_y = float((y.square().sum(1) / y.shape[1] + 1.0).pow(3).sum())
    within_x = (_kernel_sum(x, x, chunk) - diagonal_x) / (n * (n - 1))
    within_y = (_kernel_sum(y, y, chunk) - diagonal_y) / (m * (m - 1))
    return within_x + within_y - 2.0 * _kernel_sum(x, y, chunk) / (n * m)


def nearest_distances(x: Array, reference: Array, exclude_self: bool = False, chunk: int = 512) -> Tensor:
    """Euclidean distance of each row of x (N, D) to its nearest row of reference (M, D), float64 (N,).

    Args:
        exclude_self: x and reference are the same set, and a row is not its own neighbour.
    """
    x, reference = as_float64(x), as_float64(reference)
    squares = reference.square().sum(1)
    out = []
    for i in range(0, len(x), chunk):
        rows = x[i : i + chunk]
        d = squares - 2 * rows @ reference.T  # (chunk, M): |b|^2 - 2ab has its minimum where |a - b|^2 has
        if exclude_self:
            d[torch.arange(len(rows)), torch.arange(i, i + len(rows))] = float("inf")
        # The distance itself directly: the expanded form loses half of the digits where a copy should give 0.
        out.append((rows - reference[d.argmin(1)]).norm(dim=1))
    return torch.cat(out)


def memorized(train: Array, unseen: Array, fake: Array) -> float:
    """Share of generated clips that are nearer to a training clip than to any unseen one: 1/2 is none too near.

    As many of the one as of the other, the first; a tie counts half. After Meehan et al. 2020 (2004.05675), who test
    the same ranks for data copying.

    Args:
        train, unseen, fake: features (N, D), (M, D), (L, D), a row a clip.
    """
    count = min(len(train), len(unseen))
    there, elsewhere = (nearest_distances(fake, side[:count]) for side in (train, unseen))
    return float(((there < elsewhere).double() + 0.5 * (there == elsewhere).double()).mean())
