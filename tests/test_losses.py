"""Adversarial losses against their textbook formulas."""

from __future__ import annotations

import math

import pytest
import torch

from vidiff import losses

REAL = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


FAKE = torch.tensor([-0.5, 0.7, 1.1], dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("t", [1.0, 0.9])
def test_standard(t):
    real, fake = losses.standard_d(REAL, FAKE, t)
    expected = mean(-t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x)) for x in REAL.tolist())
    assert float(real) == pytest.approx(expected, rel=1e-12)
    assert float(fake) == pytest.approx(mean(-math.log(1 - sigmoid(x)) for x in FAKE.tolist()), rel=1e-12)
    assert float(losses.standard_g(FAKE)) == pytest.approx(
        mean(-math.log(sigmoid(x)) for x in FAKE.tolist()), rel=1e-12
    )


def test_standard_is_finite_where_log_sigmoid_is_not():
    assert float(losses.standard_g(torch.tensor([-1000.0]))) == pytest.approx(1000.0)


def test_wasserstein():
    real, fake = losses.wasserstein_d(REAL, FAKE)
    assert float(real + fake) == pytest.approx(mean(FAKE.tolist()) - mean(REAL.tolist()), rel=1e-12)
    assert float(losses.wasserstein_g(FAKE)) == pytest.approx(-mean(FAKE.tolist()), rel=1e-12)


@pytest.mark.parametrize("a, b, c", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares(a, b, c):
    real, fake = losses.least_squares_d(REAL, FAKE, a, b)
    assert float(real) == pytest.approx(0.5 * mean((x - b) ** 2 for x in REAL.tolist()), rel=1e-12)
    assert float(fake) == pytest.approx(0.5 * mean((x - a) ** 2 for x in FAKE.tolist()), rel=1e-12)
    assert float(losses.least_squares_g(FAKE, c)) == pytest.approx(
        0.5 * mean((x - c) ** 2 for x in FAKE.tolist()), rel=1e-12
    )


def test_hinge():
    real, fake = losses.hinge_d(REAL, FAKE)
    assert float(real) == pytest.approx(mean(max(0.0, 1 - x) for x in REAL.tolist()), rel=1e-12)
    assert float(fake) == pytest.approx(mean(max(0.0, 1 + x) for x in FAKE.tolist()), rel=1e-12)
    assert float(losses.hinge_g(FAKE)) == pytest.approx(-mean(FAKE.tolist()), rel=1e-12)
