"""Sliced and one-dimensional Wasserstein distances against second formulas."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import rng
from scipy.stats import wasserstein_distance

from vidiff.metrics.sliced import sliced_wasserstein, wasserstein


def test_one_dimension_against_scipy():
    x, y = rng(1).standard_normal((40, 1)), 2 * rng(2).standard_normal((40, 1)) + 1
    assert wasserstein(x, y) == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), rel=1e-9)
    assert wasserstein(x, x) == 0 and wasserstein(x, x + 3) == pytest.approx(3)
    # Of other numbers of samples the quantiles are interpolated.
    assert wasserstein(x, np.repeat(x, 3, axis=0)) < 0.1
    assert wasserstein(x[:30], y) == pytest.approx(wasserstein_distance(x[:30, 0], y[:, 0]), rel=0.1)


def test_sliced_distance():
    x = rng(3).standard_normal((200, 12))
    assert sliced_wasserstein(x, x) == 0
    shift = np.zeros(12)
    shift[3] = 2.0
    # |shift|^2 but for the directions that were drawn.
    assert sliced_wasserstein(x, x + shift, directions=4000) == pytest.approx(4.0, rel=0.1)
    u = rng(0).standard_normal((12, 512))
    u /= np.linalg.norm(u, axis=0)
    y = 1.5 * rng(4).standard_normal((200, 12))
    expected = 12 * np.mean((np.sort(x @ u, 0) - np.sort(y @ u, 0)) ** 2)
    assert sliced_wasserstein(x, y) == pytest.approx(expected, rel=1e-9)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(y, x)
    assert sliced_wasserstein(x, y[::-1].copy()) == pytest.approx(sliced_wasserstein(x, y), rel=1e-9)
    with pytest.raises(ValueError, match="at least 2"):
        sliced_wasserstein(x[:1], y)


def test_its_floor_is_low_with_few_samples():
    """Half of the features' number is enough for an order that a Fréchet distance would need more for."""
    x, y, z = (rng(i).standard_normal((64, 112)) for i in (5, 6, 7))
    assert sliced_wasserstein(x, z * 1.8) > 3 * sliced_wasserstein(x, y)
