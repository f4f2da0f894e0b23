"""The classifier finds what differs, and nothing where nothing does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import rng
from scipy.stats import mannwhitneyu

from vidiff.errors import RunError
from vidiff.metrics.detectability import auroc, detectability


def test_auroc_against_the_rank_test():
    a, b = rng(0).integers(0, 9, 40).astype(float), rng(1).integers(2, 11, 30).astype(float)  # with ties
    u = mannwhitneyu(b, a).statistic
    assert auroc(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(u / (40 * 30), rel=1e-12)


def test_one_half_where_nothing_differs_and_one_where_all_does():
    found = []
    for seed in range(12):
        x, y = np.split(rng(seed).standard_normal((200, 30)), 2)
        found.append(detectability(x, y))
    assert abs(np.mean([f["value"] for f in found]) - 0.5) < 0.04
    assert sum(f["interval"][0] <= 0.5 <= f["interval"][1] for f in found) >= 8
    assert detectability(x, y + 3)["value"] > 0.99
    low, high = detectability(x, y + 0.15)["interval"]
    assert 0.5 < detectability(x, y + 0.15)["value"] < 0.95 and 0 <= low < high <= 1


def test_units_of_features_do_not_matter_and_few_clips_are_refused():
    x, y = rng(3).standard_normal((60, 5)), rng(4).standard_normal((50, 5)) + 0.5
    units = np.array([1e-3, 1, 1e3, 1, 1])
    assert detectability(x * units, y * units)["value"] == pytest.approx(detectability(x, y)["value"], abs=1e-6)
    with pytest.raises(RunError, match="at least 20"):
        detectability(x[:19], y)
