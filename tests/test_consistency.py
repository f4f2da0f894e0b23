"""Losses between clips by plain formulas: reconstruction, roughness, stillness, motion along a flow, features."""

from __future__ import annotations

import pytest
import torch
from motion import known, panning

from vidiff.consistency import (
    feature_distance,
    flow_consistency,
    gram,
    gram_distance,
    laplacian,
    reconstruction,
    relative_error,
    stillness_loss,
    style_grams,
    style_loss,
    total_variation,
    warp_error,
    within_shots,
)
from vidiff.flow import backward_flow


@pytest.mark.parametrize("kind, expected", [("l1", 2.0), ("mse", 5.0)])
def test_reconstruction(kind, expected):
    assert float(reconstruction(torch.tensor([1.0, 3.0]), torch.zeros(2), kind)) == pytest.approx(expected)


def test_reconstruction_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="l1 or mse"):
        reconstruction(torch.zeros(1), torch.zeros(1), "l7")


def test_laplacian_by_loops():
    x = torch.randn(2, 1, 4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    time = [float(x[b, 0, t - 1, h, w] - 2 * x[b, 0, t, h, w] + x[b, 0, t + 1, h, w]) ** 2
            for b in range(2) for t in (1, 2) for h in range(5) for w in range(3)]  # fmt: skip
    assert float(laplacian(x, "time")) == pytest.approx(sum(time) / len(time), rel=1e-9)
    space = [float(x[b, 0, t, h - 1, 1] + x[b, 0, t, h + 1, 1] + x[b, 0, t, h, 0] + x[b, 0, t, h, 2]
                   - 4 * x[b, 0, t, h, 1]) ** 2 for b in range(2) for t in range(4) for h in (1, 2, 3)]  # fmt: skip
    assert float(laplacian(x, "space")) == pytest.approx(sum(space) / len(space), rel=1e-9)


def test_laplacian_of_straight_lines_is_zero():
    t = torch.arange(6.0).view(1, 1, 6, 1, 1)
    ramp = 2.0 * t + torch.arange(8.0).view(1, 1, 1, 8, 1) - 3.0 * torch.arange(8.0)
    assert float(laplacian(ramp, "time")) == float(laplacian(ramp, "space")) == 0.0
    assert float(laplacian(ramp[:, :, :2], "time")) == 0.0  # too short to have a second difference
    with pytest.raises(ValueError, match="space or time"):
        laplacian(ramp, "width")


def test_stillness_is_measured_on_the_source():
    source = torch.zeros(1, 3, 2, 1, 2)
    source[0, :, 1, 0, 1] = 0.5  # the right pixel moves
    output = torch.zeros(1, 3, 2, 1, 2)
    output[:, :, 1] = 1.0  # everything flickers
    assert float(stillness_loss(output, source)) == pytest.approx((1 + 2.718281828**-5) / 2, abs=1e-6)


def test_a_clip_that_follows_the_flow_costs_nothing_and_one_that_does_not_is_the_formula():
    clip = panning(4, 16, 1, 2).double()
    back, seen = backward_flow(clip, known(1.0, 2.0))
    assert float(flow_consistency(clip, back, seen)) < 1e-12
    other = torch.randn(1, 2, 4, 16, 16).double()
    total = 0.0
    for t in range(3):
        for y in range(2, 16):
            for x in range(1, 16):
                total += float((other[0, :, t + 1, y, x] - other[0, :, t, y - 2, x - 1]).abs().sum())
    assert float(flow_consistency(other, back, seen)) == pytest.approx(total / (2 * 3 * 16 * 16), abs=1e-9)
    assert float(flow_consistency(other, back, 0 * seen)) == 0.0


def test_distance_is_johnsons():
    a, b = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)], [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    by_hand = [
        sum(float(((x[n] - y[n]) ** 2).sum()) / x[n].numel() for n in range(2)) / 2 for x, y in zip(a, b, strict=True)
    ]
    assert float(feature_distance(a, b)) == pytest.approx(sum(by_hand) / 2, rel=1e-5)


def test_gram_matrices_count_what_goes_together():
    maps = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slow = (
        torch.stack([sum(torch.outer(m[:, i, j], m[:, i, j]) for i in range(6) for j in range(7)) for m in maps]) / 42
    )
    torch.testing.assert_close(gram(maps), slow)
    shuffled = maps.flatten(2)[:, :, torch.randperm(42, generator=torch.Generator().manual_seed(1))].view_as(maps)
    torch.testing.assert_close(gram(shuffled), gram(maps))  # wherever it is
    assert float(style_loss([maps[:1]], [gram(maps[:1])])) == 0.0
    assert float(style_loss([2 * maps[:1]], [gram(maps[:1])])) == pytest.approx(9.0)  # |4 S - S|^2 / |S|^2


def test_total_variation_is_of_neighbors():
    x = torch.arange(4.0).repeat(1, 3, 5, 1)  # a ramp to the right
    assert float(total_variation(x)) == pytest.approx(1.0)
    assert float(total_variation(torch.ones(1, 3, 4, 4))) == 0.0


def test_relative_errors_are_of_each_picture():
    """A faint picture counts as much as a strong one."""
    wanted = torch.stack([torch.ones(2, 3), 100 * torch.ones(2, 3)])
    assert float(relative_error(wanted + torch.tensor([1.0, 0.0])[:, None, None], wanted)) == pytest.approx(0.5)


def test_gram_distance_is_of_each_picture():
    maps = torch.randn(2, 4, 5, 6)
    (own,) = style_grams(lambda x: Maps([x]), [maps[:1]])
    found = gram_distance([maps, 3 * maps], [own, own])
    apart = float((gram(maps[1:]) - own).norm() / own.norm())
    assert found[0] == pytest.approx(4.0)  # of 0 and |9 S - S| / |S|
    assert found[1] == pytest.approx((apart + float((9 * gram(maps[1:]) - own).norm() / own.norm())) / 2)


class Maps:
    def __init__(self, layers):
        self.layers = layers


def test_the_warp_error_is_of_what_was_seen():
    clip = panning(4, 16, 1, 2).double()
    back, seen = backward_flow(clip, known(1.0, 2.0))
    assert float(warp_error(clip, back, seen).max()) < 1e-6
    half = torch.zeros_like(seen)
    half[..., 4:8, 4:9] = 1
    brighter = clip + torch.arange(4.0)[:, None, None]  # by 1 a frame
    torch.testing.assert_close(warp_error(brighter, back, half), torch.ones(1, 3).double())
    assert warp_error(clip, back, 0 * seen).isnan().all()
    assert float(within_shots(half).sum()) == 0 and torch.equal(within_shots(0 * seen + 1), 0 * seen + 1)
    squared = flow_consistency(2 * brighter - 2 * clip, 0 * back, 0 * seen + 1, "mse")
    assert float(squared) == pytest.approx(4.0)
