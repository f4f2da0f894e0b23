"""The extrapolated Fréchet distance is nearer to the true one than the plain one, and refuses too few samples."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import rng

from vidiff.errors import RunError
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.infinity import frechet_infinity


def test_the_bias_of_few_samples_goes():
    d, n, shift = 24, 120, 0.3
    true, plain, infinite = d * shift**2, [], []
    for seed in range(6):
        g = rng(seed)
        x, y = g.standard_normal((n, d)), g.standard_normal((n, d)) + shift
        plain.append(frechet_from_features(x, y))
        infinite.append(frechet_infinity(x, y)["value"])
    assert np.mean(plain) > true + 1.5
    assert abs(np.mean(infinite) - true) < 0.3 * (np.mean(plain) - true)
    assert frechet_infinity(x, y) == frechet_infinity(x, y) and frechet_infinity(x, y)["residual"] > 0


def test_too_few_samples_are_refused():
    x = rng(0).standard_normal((59, 24))
    with pytest.raises(RunError, match="needs 60 clips, got 59"):
        frechet_infinity(x, x)
