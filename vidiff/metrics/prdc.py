"""Precision, recall, density and coverage of two feature sets by nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from vidiff.metrics.frechet import Array, as_float64


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(x: Tensor, k: int, chunk: int) -> Tensor:
    # A point is its own 0th neighbour, so the k-th true neighbour is the (k+1)-th smallest entry.
    return torch.cat([_distances(x[i : i + chunk], x).kthvalue(k + 1, dim=1).values for i in range(0, len(x), chunk)])


def prdc(real: Array, fake: Array, k: int = 5, chunk: int = 512) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al. 2020,
    arXiv 2002.09797).

    With r(x) the distance of x to its k-th neighbour in its own set and B(x) the open ball of radius r(x):
    precision = share of fakes in some real B; recall = share of reals in some fake B; density = mean number of real B
    that a fake is in, over k; coverage = share of reals whose B holds a fake.

    Args:
        real, fake: features (N, D) and (M, D), each more than k rows; N = M is advised.

    Returns:
        {"precision", "recall", "density", "coverage"}.
    """
    x, y = as_float64(real), as_float64(fake)
    if min(len(x), len(y)) <= k:
        raise ValueError(f"prdc with k={k} needs more than {k} samples a side, got {len(x)} and {len(y)}")
    real_radius, fake_radius = _radii(x, k, chunk), _radii(y, k, chunk)
    in_real = torch.zeros(len(y), dtype=torch.int64)  # in how many real balls each fake lies
    recalled, covered = 0, 0
    for i in range(0, len(x), chunk):
        d = _distances(x[i : i + chunk], y)  # (chunk, M)
        inside = d < real_radius[i : i + chunk, None]
        in_real += inside.sum(0)
        recalled += int((d < fake_radius).any(1).sum())
        covered += int(inside.any(1).sum())
    return {
        "precision": float((in_real > 0).double().mean()),
        "recall": recalled / len(x),
        "density": float(in_real.double().mean()) / k,
        "coverage": covered / len(x),
    }
