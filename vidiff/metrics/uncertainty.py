"""How sure a distance is: its standard error, its interval, two checkpoints against each other, its predicted floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from torch import Tensor

from vidiff.metrics.frechet import Array, as_float64

BLOCKS = 16
Distance = Callable[[Tensor, Tensor], float]


class Estimate(NamedTuple):
    """A distance with its standard error and confidence interval."""

    value: float
    se: float
    low: float
    high: float


def estimate(
    real: Array,
    fake: Array,
    distance: Distance,
    real_videos: Sequence | None = None,
    fake_videos: Sequence | None = None,
    blocks: int = BLOCKS,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """A distance of two sets of features, and how far it would vary with other clips on both sides.

    The delete-one-block jackknife (Quenouille 1956; Tukey 1958; Künsch 1989) of either side with the other one held,
    the variances added: SE^2 = sum over the sides of (g-1)/g * sum_b (theta_b - mean theta)^2, and Student's interval
    with g - 1 degrees of freedom. Never a bootstrap: drawing with replacement adds the 1/N bias of a Fréchet distance
    once more. The interval is of the distance that sets of *this size* have on average, bias included.

    Args:
        real, fake: features (N, ...) and (M, ...), a row a clip.
        distance: function of two such float64 tensors.
        real_videos, fake_videos: the source video of each clip: clips of one video are no independent samples, and
            stay in one block. None: every clip is of its own.
        blocks: g, per side.
        level: confidence, in (0, 1).
        seed: of the division into blocks.

    Raises:
        ValueError: a side has fewer than two clips a block, or fewer videos than blocks.
    """
    real, fake = as_float64(real), as_float64(fake)
    sides = (
        jackknife(real, lambda kept: distance(kept, fake), real_videos, blocks, seed),
        jackknife(fake, lambda kept: distance(real, kept), fake_videos, blocks, seed + 1),
    )
    value, se = float(distance(real, fake)), math.hypot(*sides)
    half = quantile(blocks, level) * se
    return Estimate(value, se, value - half, value + half)


def quantile(blocks: int, level: float = 0.95) -> float:
    """How many standard errors Student's interval of a jackknife over so many blocks reaches to either side."""
    return float(stats.t.ppf((1 + level) / 2, blocks - 1))


def jackknife(
    rows: Array,
    statistic: Callable[[Array], float],
    videos: Sequence | None = None,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> float:
    """Standard error of a statistic of one side by the delete-one-block jackknife, see `estimate`.

    Args:
        rows: (N, ...), a row a clip: all frames of a clip must stay in one row, they are no independent samples.
        statistic: function of such rows.
        videos: the source video of each clip; None: every clip is of its own.
        blocks: g.
        seed: of the division into blocks.

    Raises:
        ValueError: fewer than two clips a block, or fewer videos than blocks.
    """
    names = np.arange(len(rows)) if videos is None else np.unique(np.asarray(videos), return_inverse=True)[1]
    if len(names) != len(rows):
        raise ValueError(f"{len(rows)} clips, but {len(names)} names of their videos")
    count = int(names.max()) + 1 if len(names) else 0
    if len(rows) < 2 * blocks or count < blocks:
        raise ValueError(
            f"a jackknife over {blocks} blocks needs at least {2 * blocks} clips of {blocks} videos, got {len(rows)} "
            f"of {count}"
        )
    block = (np.random.Generator(np.random.PCG64(seed)).permutation(count) % blocks)[names]
    theta = np.asarray([statistic(rows[np.flatnonzero(block != b)]) for b in range(blocks)], dtype=np.float64)
    return math.sqrt((blocks - 1) / blocks * np.square(theta - theta.mean()).sum())


class Difference(NamedTuple):
    """Of two checkpoints: distance of the first less that of the second, and p of there being none."""

    difference: float
    p: float


def permutation_test(
    real: Array, first: Array, second: Array, distance: Distance, permutations: int = 999, seed: int = 0
) -> Difference:
    """Whether two checkpoints differ: clips of the same latents change sides at random, the real ones are held.

    Says that *these two checkpoints* differ, nothing about their families: for that, seeds are the units
    (`vidiff.statistics.compare`).

    Args:
        real: features (N, ...).
        first, second: features (M, ...) of either checkpoint, row i of both of the same latent.
        distance: function of two sets of features.
        permutations: the least p is 2 / (permutations + 1).
        seed: of the permutations.

    Raises:
        ValueError: the checkpoints have different numbers of clips.
    """
    real, first, second = as_float64(real), as_float64(first), as_float64(second)
    if first.shape != second.shape:
        raise ValueError(f"the test is paired: {len(first)} clips of one checkpoint, {len(second)} of the other")
    rows = np.arange(len(first))

    def statistic(a: np.ndarray, b: np.ndarray) -> float:
        both = first.new_empty(2, *first.shape)
        for side, chosen in enumerate((a, b)):  # below len(first): of the first checkpoint
            own = chosen < len(first)
            both[side][own] = first[chosen[own]]
            both[side][~own] = second[chosen[~own] - len(first)]
        return distance(real, both[0]) - distance(real, both[1])

    result = stats.permutation_test(
        (rows, rows + len(first)),
        statistic,
        permutation_type="samples",
        vectorized=False,
        n_resamples=permutations,
        rng=np.random.Generator(np.random.PCG64(seed)),
    )
    return Difference(float(result.statistic), float(min(1.0, result.pvalue)))


def predicted_floor(covariance: Array, n_real: int, n_fake: int) -> float:
    """What the Fréchet distance of two samples of one Gaussian is on average, by its covariance alone.

    (1/n + 1/m) * (5/4 sum_i l_i + 1/2 sum_ij l_i l_j / (l_i + l_j)) for eigenvalues l: the expansion of the Bures
    distance to second order in the error of the covariances, and the distance of the means. Within 3 % for samples of
    at least 2 D; above the truth for smaller ones. Features are not Gaussian: the measured floor is what counts, this
    says how much of it is bias.

    Args:
        covariance: (D, D), of the real features.
        n_real, n_fake: clips (or frames, where these are the samples) of either side.
    """
    values = np.linalg.eigvalsh(as_float64(covariance).numpy())
    values = values[values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps]
    sums = values[:, None] + values[None]
    pairs = float((values[:, None] * values[None] / sums).sum()) if values.size else 0.0
    return (1 / n_real + 1 / n_fake) * (1.25 * float(values.sum()) + 0.5 * pairs)
