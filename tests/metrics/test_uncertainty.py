"""Standard errors and intervals against simulated truth; permutations; the floor that a covariance predicts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import rng

from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.uncertainty import estimate, permutation_test, predicted_floor


@pytest.fixture(scope="module")
def simulation():
    """The page's own program, at a size for tests."""
    path = Path(__file__).parents[2] / "docs" / "simulate_intervals.py"
    spec = importlib.util.spec_from_file_location("simulate_intervals", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("distance", "per_video"), [("fréchet", 1), ("fréchet", 4), ("kernel", 1)])
def test_standard_error_and_coverage(simulation, distance, per_video):
    found = simulation.simulate(100, clips=160, dim=12, distance=distance, per_video=per_video)
    assert 1 / 1.4 < found.se / found.spread < 1.4
    assert 0.90 <= found.coverage <= 0.98


def test_clips_of_one_video_stay_together(simulation):
    """As single clips they would look more independent than they are."""
    together = simulation.simulate(40, clips=160, dim=12, per_video=10)
    apart = simulation.simulate(40, clips=160, dim=12, per_video=10, by_video=False)
    assert together.mean == apart.mean and together.se > 1.1 * apart.se


def test_both_sides_count():
    """Of the mean the jackknife is the classical standard error, and the sides' variances add up."""
    x, y = rng(1).standard_normal((3200, 1)), 3 * rng(2).standard_normal((3200, 1)) + 5
    found = estimate(x, y, lambda a, b: float(b.mean() - a.mean()))
    assert found.value == pytest.approx(y.mean() - x.mean())
    assert found.se == pytest.approx(np.sqrt((x.var() + y.var()) / 3200), rel=0.35)
    assert found.high - found.value == pytest.approx(2.1314 * found.se, rel=1e-4)
    constant = estimate(x, y, lambda a, b: 1.0)
    assert constant == (1.0, 0.0, 1.0, 1.0)


def test_what_has_no_standard_error_is_refused():
    x = torch.zeros(40, 2)
    with pytest.raises(ValueError, match="at least 32 clips of 16 videos, got 20 of 20"):
        estimate(x, x[:20], frechet_from_features)
    with pytest.raises(ValueError, match="got 40 of 8"):
        estimate(x, x, frechet_from_features, real_videos=[f"v{i % 8}" for i in range(40)])
    with pytest.raises(ValueError, match="names of their videos"):
        estimate(x, x, frechet_from_features, fake_videos=[1, 2])


def test_permutations_tell_checkpoints_apart():
    real, a = rng(1).standard_normal((128, 6)), rng(2).standard_normal((128, 6)) + 0.1
    same = a + 0.02 * rng(3).standard_normal((128, 6))
    worse = a * 1.3 + 0.3
    found = permutation_test(real, a, worse, frechet_from_features, 199)
    assert found.difference == pytest.approx(frechet_from_features(real, a) - frechet_from_features(real, worse))
    assert found.difference < 0 and found.p == pytest.approx(2 / 200)
    assert permutation_test(real, a, same, frechet_from_features, 199).p > 0.05
    assert permutation_test(real, a, worse, frechet_from_features, 199) == found
    with pytest.raises(ValueError, match="paired"):
        permutation_test(real, a, worse[:5], frechet_from_features)


def test_permutations_of_equal_checkpoints_are_uniform():
    """Two generators of one distribution: p below 0.2 in a fifth of the cases, within what 60 of them tell."""
    distance = lambda a, b: float((a.mean(0) - b.mean(0)).square().sum())  # noqa: E731
    p = [permutation_test(*rng(seed).standard_normal((3, 40, 4)), distance, 99).p for seed in range(60)]
    assert 0.08 < np.mean(np.asarray(p) <= 0.2) < 0.35


@pytest.mark.parametrize(("clips", "dim", "falls"), [(64, 32, False), (256, 64, True), (128, 64, True)])
def test_predicted_floor(simulation, clips, dim, falls):
    measured, predicted = simulation.floors(120, clips, dim, falls)
    assert predicted == pytest.approx(measured, rel=0.03)


def test_predicted_floor_closed_form():
    """Of equal eigenvalues l: (1/n + 1/m) l (D + D (D + 1) / 4); a feature that never varies adds nothing."""
    assert predicted_floor(2 * np.eye(8), 100, 50) == pytest.approx((1 / 100 + 1 / 50) * 2 * (8 + 8 * 9 / 4))
    assert predicted_floor(np.diag([2.0] * 8 + [0.0]), 100, 50) == pytest.approx(
        predicted_floor(2 * np.eye(8), 100, 50)
    )
