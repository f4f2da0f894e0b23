"""Statistics of few runs: intervals over seeds, exact paired tests, their correction, the pairs that a test needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Hashable, NamedTuple

import numpy as np
from scipy import stats

from vidiff.errors import UsageError

LEVEL, POWER = 0.95, 0.8
EXACT_PAIRS = 16  # up to 2^16 signs are all tried
MOST_PAIRS = 1000  # a test that would need more is not proposed


class Interval(NamedTuple):
    """A mean and its confidence interval; no interval (None) of a single value."""

    mean: float
    low: float | None
    high: float | None


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean of independent runs: mean +- t * sd / sqrt(n) (Student 1908).

    Args:
        values: one a seed.
        level: confidence, in (0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"an interval needs finite values, got {list(values)}")
    if x.size == 1:
        return Interval(float(x[0]), None, None)
    half = float(stats.t.ppf((1 + level) / 2, x.size - 1)) * x.std(ddof=1) / math.sqrt(x.size)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def sign_flip(differences: Sequence[float], draws: int = 100_000) -> float:
    """Two-sided p of a paired sign-flip test: how often random signs give a mean as far from 0 (Fisher 1935).

    Exact, over all 2^n signs, for up to 16 pairs; beyond that over seeded draws. The least p is 2 / 2^n: with fewer
    than six pairs it cannot be below 0.05.

    Args:
        differences: one a pair.
        draws: of signs, for more than 16 pairs.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0 or not np.isfinite(d).all():
        raise ValueError(f"a sign-flip test needs finite differences, got {list(differences)}")
    if d.size == 1:
        return 1.0
    result = stats.permutation_test(
        (d,),
        lambda x, axis: x.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if d.size <= EXACT_PAIRS else draws,
        batch=4096,
        rng=np.random.default_rng(0),
    )
    return float(min(1.0, result.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being several: the i-th smallest of m times m - i + 1, made monotone (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1.0)
    return [float(v) for v in out]


def pairs_needed(effect: float, tests: int = 1, level: float = LEVEL, power: float = POWER) -> int | None:
    """Pairs at which a paired two-sided test of this effect would be positive with the given power.

    The least n of Student's paired test (noncentral t) at (1 - level) / tests, and no fewer than the sign-flip test
    needs to be able to be positive at all: 2 / 2^n below that.

    Args:
        effect: mean of the differences over their standard deviation (Cohen's d_z).
        tests: how many are corrected for.

    Returns:
        None where more than 1,000 would be needed, as for an effect of 0.
    """
    alpha = (1 - level) / tests
    least = math.floor(math.log2(2 / alpha)) + 1
    if math.isinf(effect):
        return least
    n = np.arange(least, MOST_PAIRS + 1)
    limit, shift = stats.t.ppf(1 - alpha / 2, n - 1), abs(effect) * np.sqrt(n)
    # The noncentral tail is computed as NaN far out, where it is 1 for every purpose.
    reached = np.nan_to_num(stats.nct.sf(limit, n - 1, shift), nan=1.0) if effect else np.zeros(len(n))
    enough = np.flatnonzero(reached >= power)
    return int(n[enough[0]]) if enough.size else None


class Comparison(NamedTuple):
    """Two families over the same pairs; a difference below 0 means that `a` has the lower value.

    Args:
        a, b: names. difference: mean of a - b, with its interval. effect: mean over standard deviation. wins: share of
            the pairs in which a is lower (a tie is half). pairs: how many. p: exact, uncorrected. corrected: by Holm.
        needed: pairs that a test of this effect would need, None: more than 1,000.
    """

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    effect: float
    wins: float
    pairs: int
    p: float
    corrected: float
    needed: int | None

    @property
    def passes(self) -> bool:
        return self.corrected < 1 - LEVEL


def compare(values: Mapping[str, Mapping[Hashable, float]]) -> list[Comparison]:
    """Every family against every other, paired, with Holm's correction over all of the comparisons.

    Args:
        values: family -> pair, such as (data set, seed) -> value, less is better. Only pairs that both have count.

    Raises:
        UsageError: two families have no pair in common.
    """
    found = []
    for a, b in combinations(values, 2):
        common = [pair for pair in values[a] if pair in values[b]]
        if not common:
            raise UsageError(f"{a} and {b} have no data set and seed in common and cannot be compared in pairs")
        found.append((a, b, np.asarray([values[a][k] - values[b][k] for k in common])))
    p_values = [sign_flip(d) for *_, d in found]
    corrected = holm(p_values)
    return [_comparison(a, b, d, p, c, len(found)) for (a, b, d), p, c in zip(found, p_values, corrected)]


def _comparison(a: str, b: str, d: np.ndarray, p: float, corrected: float, tests: int) -> Comparison:
    mean, low, high = t_interval(d)
    spread = float(d.std(ddof=1)) if d.size > 1 else 0.0
    effect = mean / spread if spread else math.copysign(math.inf, mean) if mean and d.size > 1 else 0.0
    wins = float(((d < 0) + 0.5 * (d == 0)).mean())
    return Comparison(a, b, mean, low, high, effect, wins, d.size, p, corrected, pairs_needed(effect, tests))


def winners(comparisons: Sequence[Comparison]) -> set[str]:
    """Families that are lower than every other one by the corrected test: one, or none."""
    names = {name for c in comparisons for name in (c.a, c.b)}
    beaten: dict[str, set[str]] = {name: set() for name in names}
    for c in comparisons:
        if c.passes and c.difference:
            low, high = (c.a, c.b) if c.difference < 0 else (c.b, c.a)
            beaten[low].add(high)
    return {name for name in names if beaten[name] == names - {name}}
