"""Rows by latitude, and the seam of a panorama."""

from __future__ import annotations

import math

import pytest
import torch

from vidiff.sphere import latitude_weights, seam_ratio, wrap, ws_psnr


def test_weights_are_areas_on_the_sphere():
    """A row of an H-row map covers sin(top) - sin(bottom) of the sphere's height."""
    weights = latitude_weights(64)
    edges = torch.linspace(math.pi / 2, -math.pi / 2, 65).sin()
    areas = -edges.diff()
    assert torch.allclose(weights / weights.sum(), areas / areas.sum(), atol=1e-5)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-6) and torch.allclose(weights, weights.flip(0), atol=1e-6)


def test_the_seam_of_what_goes_around_and_of_what_does_not():
    turn = torch.arange(32) * 2 * math.pi / 32
    around = turn.sin().expand(2, 3, 4, 16, 32)
    assert 0.9 < float(seam_ratio(around)[0]) < 1.7  # sin is steepest at its seam: pi / 2 of the mean
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 1, 16, 32)
    assert float(seam_ratio(ramp)[0]) == pytest.approx(31.0, rel=1e-4)
    assert float(seam_ratio(torch.zeros(1, 3, 2, 4, 8))[0]) == pytest.approx(1.0)
    assert torch.equal(wrap(torch.arange(4.0), 1), torch.tensor([3.0, 0, 1, 2, 3, 0]))


def test_ws_psnr_counts_the_equator_more_than_the_poles():
    a = torch.full((1, 3, 1, 16, 32), 100, dtype=torch.uint8)
    pole, equator = a.clone(), a.clone()
    pole[..., 0, :] += 10
    equator[..., 8, :] += 10
    assert float(ws_psnr(a, pole)) > float(ws_psnr(a, equator)) + 5
    flat = -10 * math.log10((10 / 255) ** 2)
    assert float(ws_psnr(a, a + 10)) == pytest.approx(flat, abs=1e-3) and float(ws_psnr(a, a)) == 100.0
