"""Fréchet distance against golden values, closed forms and identities; moments; jackknife."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import case_a, rng

from vidiff.metrics import Moments, frechet_distance, jackknife
from vidiff.metrics.frechet import frechet_from_features, moments


def case_b():
    g, s = rng(2048), (np.arange(400) + 1.0) ** -0.5
    x = g.standard_normal((2048, 400)) * s
    return x, g.standard_normal((2048, 400)) * s[::-1] * 0.5 + 0.05 + g.standard_normal((2048, 1)) * 0.2


def case_c():
    g = rng(7)
    return g.standard_normal((100, 256)), g.standard_normal((100, 256)) + 0.25


def from_samples(x, y, ddof):
    """Independent reference: the same formula from the centred samples, without any covariance."""
    a, b = (x - x.mean(0)) / math.sqrt(len(x) - ddof), (y - y.mean(0)) / math.sqrt(len(y) - ddof)
    root = np.linalg.svd(np.linalg.qr(a.T)[1].T @ (np.linalg.qr(a.T)[0].T @ b.T), compute_uv=False).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root


@pytest.mark.parametrize(
    ("case", "ddof", "value"),
    [
        (case_a, 1, 6.197315519076),
        (case_a, 0, 6.187258748165),
        (case_b, 1, 21.231801971063),
        (case_b, 0, 21.221763403622),
        (case_c, 1, 273.285825782324),
        (case_c, 0, 270.778214860118),
    ],
)
def test_golden_values(case, ddof, value):
    assert frechet_from_features(*case(), ddof) == pytest.approx(value, rel=1e-9, abs=0)


@pytest.mark.parametrize("case", [case_a, case_c])
@pytest.mark.parametrize("ddof", [0, 1])
def test_equals_the_formula_on_samples(case, ddof):
    x, y = case()
    assert frechet_from_features(x, y, ddof) == pytest.approx(from_samples(x, y, ddof), rel=1e-10)


def test_closed_forms():
    s1, s2 = [[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]]
    expected = 8 - 2 * math.sqrt(14)
    assert frechet_distance(np.zeros(2), s1, np.zeros(2), s2) == pytest.approx(expected, rel=1e-12)
    a = np.arange(1.0, 9)
    b = a[::-1] / 2
    x = np.concatenate([np.diag(a), -np.diag(a)])
    y = np.concatenate([np.diag(b), -np.diag(b)]) + np.linspace(0, 1, 8)
    assert frechet_from_features(x, y, 1) == pytest.approx(20.8571428571429, rel=1e-12)
    assert frechet_from_features(x, y, 0) == pytest.approx(19.7321428571429, rel=1e-12)


def test_identities():
    x, y = case_c()  # fewer samples than features
    scale = moments(x).covariance().trace()
    assert 0 <= frechet_from_features(x, x) < 1e-10 * scale
    shift = np.linspace(-1, 1, 256)
    assert frechet_from_features(x, x + shift) == pytest.approx((shift**2).sum(), rel=1e-10)
    value = frechet_from_features(x, y)
    assert frechet_from_features(y, x) == pytest.approx(value, rel=1e-10)
    q = np.linalg.qr(rng(3).standard_normal((256, 256)))[0]
    assert frechet_from_features(x @ q, y @ q) == pytest.approx(value, rel=1e-9)
    assert frechet_from_features(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-10)


def test_constant_features_are_no_special_case():
    x = np.full((10, 4), 2.0)
    assert frechet_from_features(x, x) == 0
    assert frechet_from_features(x, x + 1) == pytest.approx(4.0)
    y = rng(0).standard_normal((50, 4))
    expected = ((y.mean(0) - 2) ** 2).sum() + np.trace(np.cov(y.T))
    assert frechet_from_features(x, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("mu", "sigma", "text"),
    [
        ([0.0, math.nan], np.eye(2), "NaN"),
        ([0.0, 0.0], [[1.0, 0.0], [0.0, math.inf]], "infinity"),
        ([0.0, 0.0, 0.0], np.eye(2), "3 entries"),
        ([0.0, 0.0], [[1.0, 0.0], [0.0, -0.5]], "no covariance"),
        ([0.0], [[1.0]], "features on one side"),
    ],
)
def test_what_is_no_gaussian_is_refused(mu, sigma, text):
    with pytest.raises(ValueError, match=text):
        frechet_distance(np.asarray(mu), np.asarray(sigma), np.zeros(2), np.eye(2))


def test_moments_do_not_depend_on_the_batches():
    x = rng(5).standard_normal((257, 32))
    whole = Moments(32).update(x)
    split = Moments(32)
    for part in np.array_split(x, [1, 3, 100, 100, 250]):
        split.update(part)
    left, right = Moments(32).update(x[:120]), Moments(32).update(torch.from_numpy(x[120:]))
    for other in (split, left.merge(right), Moments(32).merge(whole), Moments.from_state(whole.state())):
        assert other.n == 257
        torch.testing.assert_close(other.mean, whole.mean, rtol=0, atol=1e-14)
        torch.testing.assert_close(other.covariance(), whole.covariance(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(whole.covariance(1).numpy(), np.cov(x.T), atol=1e-13)
    np.testing.assert_allclose(whole.covariance(0).numpy(), np.cov(x.T, ddof=0), atol=1e-13)


def test_moments_survive_a_mean_far_from_zero():
    x = rng(6).standard_normal((2048, 16))
    far = Moments(16)
    for part in np.array_split(x + 1e4, 16):
        far.update(part)
    error = (far.covariance() - moments(x).covariance()).abs().max()
    assert error < 1e-11  # raw float64 sums would be off by 1e-6


def test_moments_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match="more than 1"):
        Moments(2).update(np.zeros((1, 2))).covariance(1)
    with pytest.raises(ValueError, match="NaN"):
        Moments(2).update(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="features"):
        Moments(2).update(np.zeros((2, 3)))


def test_jackknife_matches_the_spread_over_fresh_samples():
    d, n, scale = 16, 256, 1.3
    real = moments(rng(1).standard_normal((n, d)))

    def distance(fake):
        b = moments(fake)
        return frechet_distance(real.mean, real.covariance(), b.mean, b.covariance())

    def sample(seed):
        return scale * rng(100 + seed).standard_normal((n, d)) + 0.2

    truth = np.std([distance(sample(i)) for i in range(60)], ddof=1)
    estimate = np.mean([jackknife(sample(i), distance) for i in range(6)])
    assert 0.6 < estimate / truth < 1.4
    assert jackknife(sample(0), distance) == jackknife(torch.from_numpy(sample(0)), distance)
    with pytest.raises(ValueError, match="at least 32 clips"):
        jackknife(sample(0)[:20], distance)
