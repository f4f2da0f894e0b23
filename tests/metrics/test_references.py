"""Our definitions on the same features as torch-fidelity's and torchmetrics'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import rng
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from vidiff.metrics import frechet_distance, kernel_distance
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.prdc import prdc

REAL = rng(5).standard_normal((300, 48)).astype(np.float32)
FAKE = (0.7 * rng(6).standard_normal((300, 48)) + 0.2).astype(np.float32)  # precise, but little of the real is recalled


def test_torch_fidelity_agrees():
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kernel_mmd
    from torch_fidelity.metric_prc import calculate_precision_recall_full, calculate_precision_recall_part

    real, fake = torch.from_numpy(REAL).double(), torch.from_numpy(FAKE).double()
    sides = [fid_features_to_statistics(x) for x in (real, fake)]
    assert frechet_from_features(REAL, FAKE) == pytest.approx(
        fid_statistics_to_metric(*sides, False)["frechet_inception_distance"], rel=1e-9
    )
    kid = kernel_mmd(fake.numpy(), real.numpy(), kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_coef0=1)
    assert kernel_distance(REAL, FAKE) == pytest.approx(kid, rel=1e-9)
    ours = prdc(REAL, FAKE, k=3)
    assert ours["precision"] > 2 * ours["recall"] > 0  # a swap would be seen
    for theirs in (calculate_precision_recall_full, calculate_precision_recall_part):
        # Theirs takes the generated features first, ours the real ones.
        assert theirs(fake, real, 3) == pytest.approx((ours["precision"], ours["recall"]), abs=1e-6)


def test_torchmetrics_agrees():
    class Flat(nn.Module):
        num_features = 48

        def forward(self, x):
            return x.flatten(1)

    theirs = FrechetInceptionDistance(feature=Flat()).set_dtype(torch.float64)
    for features, real in ((REAL, True), (FAKE, False)):
        theirs.update(torch.from_numpy(features).double().reshape(-1, 3, 4, 4), real=real)
    assert frechet_from_features(REAL, FAKE) == pytest.approx(float(theirs.compute()), rel=1e-6)
    kid = poly_mmd(torch.from_numpy(REAL).double(), torch.from_numpy(FAKE).double(), degree=3, gamma=None, coef=1.0)
    assert kernel_distance(REAL, FAKE) == pytest.approx(float(kid), rel=1e-6)


def test_frechet_distance_against_the_root_of_a_matrix():
    scipy = pytest.importorskip("scipy.linalg")
    (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (REAL.astype(float), FAKE.astype(float)))
    root = scipy.sqrtm(s @ t)
    expected = ((m - n) ** 2).sum() + np.trace(s + t) - 2 * np.trace(root).real
    assert frechet_distance(m, s, n, t) == pytest.approx(expected, rel=1e-9)
