"""Intervals over seeds, exact paired tests, their correction, and how many pairs a test needs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import rng
from scipy import stats

from vidiff.errors import UsageError
from vidiff.statistics import compare, holm, pairs_needed, sign_flip, t_interval, winners


def by_hand(differences):
    """Every sign, and how many of their means are as far from 0."""
    d = np.asarray(differences)
    means = [abs((d * signs).mean()) for signs in itertools.product((1, -1), repeat=len(d))]
    return np.mean([m >= abs(d.mean()) - 1e-12 for m in means])


@pytest.mark.parametrize("pairs", [2, 3, 5, 6, 9])
def test_sign_flip_equals_every_sign_by_hand(pairs):
    for seed in range(4):
        d = rng(100 * pairs + seed).standard_normal(pairs) + 0.5 * seed
        assert sign_flip(d) == pytest.approx(by_hand(d), abs=1e-12)


def test_the_least_p_of_a_sign_flip():
    """2 / 2^n: five pairs that all agree are not enough, six are."""
    assert sign_flip([1.0, 2, 3, 4, 5]) == pytest.approx(0.0625) and sign_flip([1.0, 2, 3, 4, 5, 6]) == 2 / 64
    assert sign_flip([3.0]) == 1.0 and sign_flip([0.0, 0.0, 0.0]) == 1.0 and sign_flip([1.0, -1.0]) == 1.0
    with pytest.raises(ValueError, match="finite"):
        sign_flip([1.0, float("nan")])


def test_many_pairs_are_sampled_and_agree_with_the_normal_approximation():
    d = rng(3).standard_normal(40) + 0.3
    z = d.mean() / (np.sqrt(np.square(d).sum()) / len(d))
    assert sign_flip(d) == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)


def test_holm_by_hand():
    """0.01 x 4, 0.013 x 3 lifted to it, 0.02 x 2 likewise, 0.5 x 1; the order of the input stays."""
    assert holm([0.5, 0.01, 0.02, 0.013]) == pytest.approx([0.5, 0.04, 0.04, 0.04])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == [] and holm([0.2]) == [0.2]


def test_t_interval():
    values = [0.4, 0.5, 0.9]
    mean, low, high = t_interval(values)
    assert (low, high) == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(0.95))
    assert mean == pytest.approx(0.6) and high - mean == pytest.approx(4.302653 * np.std(values, ddof=1) / 3**0.5)
    assert t_interval([0.3]) == (0.3, None, None)
    with pytest.raises(ValueError):
        t_interval([])


def test_coverage_of_intervals_over_seeds():
    """95 % of them hold the truth, to within what 2,000 trials tell."""
    for seeds in (3, 5):
        draws = rng(seeds).standard_normal((2000, seeds))
        held = np.mean([i.low <= 0 <= i.high for i in map(t_interval, draws)])
        assert 0.935 < held < 0.965


def test_pairs_needed_reach_the_power():
    """By simulation of the test that it plans; never fewer than the exact test needs to be positive at all."""
    n = pairs_needed(0.8)
    for count, above in ((n, True), (n - 3, False)):
        draws = rng(8).standard_normal((4000, count)) + 0.8
        positive = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
        assert bool(positive > 0.785) == above
    assert pairs_needed(50.0) == 6 == pairs_needed(float("inf")) and pairs_needed(50.0, tests=10) == 9
    assert pairs_needed(0.0) is None and pairs_needed(0.01) is None
    sizes = [pairs_needed(effect) for effect in (0.3, 0.5, 1.0, 2.0)]
    assert sizes == sorted(sizes, reverse=True) and pairs_needed(0.5, tests=6) > pairs_needed(0.5)


def families(shift: float, seeds: int = 8):
    noise = rng(4).standard_normal((3, seeds)) * 0.05
    means = {"good": 1.0 - shift, "middle": 1.0, "bad": 1.0 + shift}
    return {
        name: {("shapes", s): mean + noise[i, s] for s in range(seeds)} for i, (name, mean) in enumerate(means.items())
    }


def test_families_that_differ_have_a_winner():
    found = compare(families(0.5))
    assert [(c.a, c.b) for c in found] == [("good", "middle"), ("good", "bad"), ("middle", "bad")]
    assert all(c.pairs == 8 and c.wins == 1.0 and c.p == pytest.approx(2 / 256) for c in found)
    assert [c.corrected for c in found] == pytest.approx([3 * 2 / 256] * 3)
    assert all(c.passes and c.low < c.difference < c.high < 0 and c.effect < -3 for c in found)
    assert winners(found) == {"good"}


@pytest.mark.parametrize(("shift", "seeds"), [(0.0, 8), (0.5, 3)])
def test_no_winner_without_a_difference_or_without_enough_seeds(shift, seeds):
    found = compare(families(shift, seeds))
    assert winners(found) == set() and not any(c.passes for c in found)
    if seeds == 3:
        assert all(c.p == 0.25 and c.needed == 7 for c in found)


def test_only_common_pairs_count():
    values = {"a": {0: 1.0, 1: 2.0, 2: 3.0}, "b": {1: 2.5, 2: 3.5, 3: 0.0}}
    (only,) = compare(values)
    assert only.pairs == 2 and only.difference == -0.5 and only.effect == float("-inf")
    with pytest.raises(UsageError, match="a and c have no data set and seed in common"):
        compare({"a": {0: 1.0}, "c": {1: 1.0}})
