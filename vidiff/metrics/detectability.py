"""Can a small classifier tell generated clips from real ones?"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from vidiff.errors import RunError
from vidiff.metrics.frechet import Array, as_float64

FOLDS = 5
LEAST = 4 * FOLDS  # clips a side


def auroc(negative: Tensor, positive: Tensor) -> float:
    """The share of pairs in which the positive has the larger value; ties count half (Mann and Whitney 1947)."""
    difference = positive[:, None] - negative[None]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def detectability(real: Array, fake: Array, ridge: float = 0.1, seed: int = 0) -> dict[str, float | list[float]]:
    """Cross-validated AUROC of a linear classifier of real against generated clips: 0.5 cannot be told apart, 1 always.

    A classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv 1610.06545). Fisher's linear discriminant with
    features in units of their spread and `ridge` added to the covariance, on four fifths of the clips; each fifth is
    judged by the classifier that has not seen it. Real clips must not be training clips of the generator: those it may
    know by heart.

    Args:
        real, fake: features (N, D) and (M, D), a row a clip.
        ridge: share of the mean variance.
        seed: of the fifths.

    Returns:
        `value`, the mean over the fifths, and `interval`: 95 %, 1.96 standard errors of Hanley and McNeil 1982 around.

    Raises:
        RunError: fewer than 20 clips on a side.
    """
    x, y = as_float64(real), as_float64(fake)
    n, m = len(x), len(y)
    if min(n, m) < LEAST:
        raise RunError(f"detectability needs at least {LEAST} clips a side, got {n} and {m}")
    rng = np.random.Generator(np.random.PCG64(seed))
    parts = [torch.from_numpy(rng.permutation(len(side)) % FOLDS) for side in (x, y)]
    values = []
    for fold in range(FOLDS):
        seen = [side[part != fold] for side, part in zip((x, y), parts)]
        new = [side[part == fold] for side, part in zip((x, y), parts)]
        line = _discriminant(*seen, ridge)
        values.append(auroc(new[0] @ line, new[1] @ line))
    value = float(np.mean(values))
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (value * (1 - value) + (m - 1) * (q1 - value**2) + (n - 1) * (q2 - value**2)) / (n * m)
    reach = 1.96 * math.sqrt(max(variance, 0.0))
    return {"value": value, "interval": [max(value - reach, 0.0), min(value + reach, 1.0)]}


def _discriminant(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """The direction (D,) in which y is above x."""
    unit = torch.cat([x, y]).std(0).clamp(min=1e-6)
    x, y = x / unit, y / unit
    scatter = (x - x.mean(0)).T @ (x - x.mean(0)) + (y - y.mean(0)).T @ (y - y.mean(0))
    scatter = scatter / (len(x) + len(y) - 2)
    scatter = scatter + ridge * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=scatter.dtype)
    return torch.linalg.solve(scatter, y.mean(0) - x.mean(0)) / unit
