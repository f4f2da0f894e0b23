"""The torchmetrics form equals the function."""

from __future__ import annotations

import pytest
import torch

from vidiff.metrics import FrechetVideoDistance, RandomConv3d
from vidiff.metrics.frechet import Moments, frechet_from_features


def clips(n, seed, low=0, high=256, size=16, frames=4):
    g = torch.Generator().manual_seed(seed)
    ground = torch.randint(low, high, (n, 3, 1, size, size), generator=g)
    steps = torch.randint(-20, 21, (n, 3, frames, size, size), generator=g)
    return (ground + steps).clamp(0, 255).to(torch.uint8)


def test_torchmetrics_form_equals_the_function():
    real, fake = clips(30, 1), clips(31, 2, 40, 220)
    net = RandomConv3d()
    fvd = FrechetVideoDistance(ddof=0)
    for part in real.split(7):
        fvd.update(part, real=True)
    for part in fake.split(4):
        fvd.update(part, real=False)
    assert fvd.compute().dtype == torch.float64
    assert fvd.compute().item() == pytest.approx(frechet_from_features(net(real), net(fake), ddof=0), rel=1e-5)
    assert Moments.from_state(fvd.real_moments).n == 30
    kept = FrechetVideoDistance(reset_real=False)
    kept.update(real, real=True)
    kept.update(fake, real=False)
    before = kept.compute()
    kept.reset()
    kept.update(fake, real=False)
    assert torch.equal(kept.compute(), before)
    fvd.reset()
    assert Moments.from_state(fvd.real_moments).n == 0
