"""Precision, recall, density and coverage: golden values and limits."""

from __future__ import annotations

import pytest
from helpers import case_a

from vidiff.metrics.prdc import prdc


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
