"""Precision, recall, density and coverage: golden values and limits."""

from __future__ import annotations

import numpy as np
import pytest

from vidiff.metrics.prdc import prdc


def rng(seed):
    return np.random.Generator(np.random.PCG64(seed))


def case_a():
    g = rng(1234)
    return g.standard_normal((512, 64)), 1.1 * g.standard_normal((512, 64)) + 0.1


def test_prdc_golden_and_limits():
    x, y = case_a()
    expected = {"precision": 0.412109375, "recall": 0.94921875, "density": 0.253515625, "coverage": 0.646484375}
    assert prdc(x, y, chunk=100) == pytest.approx(expected, abs=1e-12)
    same = prdc(x, x)
    assert same["precision"] == same["recall"] == same["coverage"] == 1.0
    far = prdc(x, x + 1e3)
    assert far == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}
    with pytest.raises(ValueError, match="more than 5"):
        prdc(x[:5], y)
