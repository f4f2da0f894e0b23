"""Kernel distance against golden values, nearest distances against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import rng

from vidiff.metrics import kernel_distance
from vidiff.metrics.kernel import memorized, nearest_distances


def case_b():
    g, s = rng(2048), (np.arange(400) + 1.0) ** -0.5
    x = g.standard_normal((2048, 400)) * s
    return x, g.standard_normal((2048, 400)) * s[::-1] * 0.5 + 0.05 + g.standard_normal((2048, 1)) * 0.2


def test_kernel_distance_golden_and_unbiased():
    x, y = case_b()
    for n, value in ((64, 0.0107534161832), (256, 0.00858964163097), (1024, 0.0101703604454), (2048, 0.010320075612)):
        assert kernel_distance(x[:n], y[:n], chunk=100 if n < 1000 else 1024) == pytest.approx(value, rel=1e-9)
    null = [kernel_distance(*np.split(rng(i).standard_normal((64, 8)), 2)) for i in range(200)]
    assert abs(np.mean(null)) < 4 * np.std(null) / math.sqrt(len(null))
    assert min(null) < 0


def test_nearest_distances_against_brute_force():
    x, y = rng(8).standard_normal((70, 5)), rng(9).standard_normal((90, 5))
    table = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    np.testing.assert_allclose(nearest_distances(x, y, chunk=16).numpy(), table.min(1), atol=1e-12)
    own = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)) + np.diag(np.full(70, np.inf))
    np.testing.assert_allclose(nearest_distances(x, x, exclude_self=True, chunk=16).numpy(), own.min(1), atol=1e-12)
    assert nearest_distances(y[:9] * 1e6, y * 1e6).max() == 0  # a copy is exactly 0


def test_memorized_is_one_half_for_fresh_rows_one_for_copies_and_in_between_for_some():
    shares = []
    for seed in range(20):
        train, unseen, fresh = np.split(rng(seed).standard_normal((300, 6)), 3)
        shares.append(memorized(train, unseen, fresh))
    assert abs(np.mean(shares) - 0.5) < 0.04
    assert memorized(train, unseen, train[:30]) == 1 and memorized(train, unseen, unseen[:30]) == 0
    half = memorized(train, unseen, np.concatenate([train[:50], fresh[:50]]))
    assert half == pytest.approx(0.5 + 0.5 * memorized(train, unseen, fresh[:50]), abs=1e-12)
    # More of the one than of the other gives no advantage.
    more = np.concatenate([train, rng(99).standard_normal((900, 6))])
    assert memorized(more, unseen, fresh) == memorized(train, unseen, fresh)
    assert memorized(train, train, fresh) == 0.5
