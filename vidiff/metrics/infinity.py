"""A Fréchet distance extrapolated to infinitely many clips."""

from __future__ import annotations

import numpy as np

from vidiff.errors import RunError
from vidiff.metrics.frechet import Array, as_float64, frechet_from_features

POINTS, SUBSETS = 6, 3
SAMPLES_PER_FEATURE = 2.5


def frechet_infinity(real: Array, fake: Array, ddof: int = 1, seed: int = 0) -> dict[str, float]:
    """The intercept of the line through Fréchet distances of n real and n generated clips over 1 / n.

    Chong and Forsyth 2020, "Effectively unbiased FID", arXiv 1911.07023, extrapolate the generated side alone, which
    leaves the bias of the real side. Here both sides have n samples: 6 values of n, even in 1 / n, from
    max(1.25 D, N / 4) to N, 3 seeded subsets without replacement each. Below n = D a Fréchet distance is no line in
    1 / n, so fewer than 2.5 D samples are refused. Values slightly below 0 are normal.

    Args:
        real, fake: features (N, D) and (M, D), in the order of the clips' ids.
        ddof: of the covariances.
        seed: of the subsets.

    Returns:
        `value`, and `residual`: root mean square distance of the points from the line.

    Raises:
        RunError: fewer than 2.5 D samples on a side.
    """
    x, y = as_float64(real), as_float64(fake)
    n, d = min(len(x), len(y)), x.shape[1]
    if n < SAMPLES_PER_FEATURE * d:
        raise RunError(f"an extrapolated distance of {d} features needs {SAMPLES_PER_FEATURE * d:.0f} clips, got {n}")
    counts = np.round(1 / np.linspace(1 / max(1.25 * d, n / 4), 1 / n, POINTS)).astype(int)
    rng = np.random.Generator(np.random.PCG64(seed))
    rows, values = [], []
    for count in counts.tolist():
        for _ in range(SUBSETS):
            a, b = (side[np.sort(rng.permutation(len(side))[:count])] for side in (x, y))
            rows.append((1.0, 1 / count))
            values.append(frechet_from_features(a, b, ddof))
    line, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    residual = np.array(rows) @ line - np.array(values)
    return {"value": float(line[0]), "residual": float(np.sqrt(np.square(residual).mean()))}
