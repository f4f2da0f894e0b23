"""ADA: the identity when off, colors against loops, the walk of the probability."""

from __future__ import annotations

import math

import torch

from vidiff.augment import AdaptiveAugment
from vidiff.augment.ada import AdaptiveAugment as Ada

KEY = (5, "d", 11)


def clips(b=6, c=3, t=5, h=16, w=16):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_ada_off_is_exactly_the_identity():
    clip = clips()
    assert torch.equal(AdaptiveAugment()(clip, KEY), clip)
    assert torch.equal(AdaptiveAugment()(clips(2, 1), KEY), clips(2, 1))


def test_ada_colors_against_loops():
    clip = clips()
    ada = Ada(start=1.0)
    u = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
    n = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    out = ada._recolor(clip, u, n)
    axis = torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    for i in range(6):
        x = clip[i].double().flatten(1)  # (3, T*H*W)
        x = x + 0.2 * n[i, 0]
        x = x * 2 ** (0.5 * n[i, 1].double())
        if u[i, 5] < 0.5:
            x = x - 2 * axis[:, None] * (axis @ x)
        angle = ((2 * u[i, 6] - 1) * math.pi).double()
        along = axis[:, None] * (axis @ x)
        x = along + angle.cos() * (x - along) + angle.sin() * torch.linalg.cross(axis[:, None].expand_as(x), x, dim=0)
        along = axis[:, None] * (axis @ x)
        x = along + (x - along) * 2 ** n[i, 2].double()
        assert torch.allclose(out[i].double().flatten(1), x, atol=1e-5)


def test_ada_probability_is_that_of_each_operation():
    ada = AdaptiveAugment(start=0.4, color=False)
    u = torch.rand(4000, 16, generator=torch.Generator().manual_seed(0))
    matrix = ada._warp(u, torch.randn(4000, 4, generator=torch.Generator().manual_seed(1)), (16, 16))
    untouched = (matrix == torch.eye(3)).all(2).all(1).float().mean()
    # flip half of p, quarter turn 3/4 of p, whole shift, scale, stretch, rotation and shift p each
    expected = (1 - 0.2) * (1 - 0.3) * 0.6**5
    assert abs(untouched - expected) < 0.015
    assert torch.allclose(matrix[:, 2], torch.tensor([0.0, 0, 1]).expand(4000, 3))


def test_ada_walks_with_the_sign_and_is_saved():
    ada = AdaptiveAugment(clips=1000, interval=2)
    confident, lost = torch.ones(10, 4), -torch.ones(10, 4)
    ada.update(confident, 10)
    assert ada.p == 0
    ada.update(confident, 10)
    assert torch.isclose(ada.p, torch.tensor(20 / 1000)) and ada.r_t == 1
    for _ in range(400):
        ada.update(confident, 10)
    assert ada.p == 1
    for _ in range(50):
        ada.update(lost, 10)
    assert torch.isclose(ada.p, torch.tensor(0.5), atol=1e-5) and ada.r_t == -1
    ada.update(confident, 10)
    other = AdaptiveAugment(clips=1000, interval=2)
    other.load_state_dict(ada.state_dict())
    ada.update(confident, 10), other.update(confident, 10)
    assert torch.equal(ada.p, other.p) and torch.isclose(ada.p, torch.tensor(0.52), atol=1e-5)
    for _ in range(400):
        ada.update(lost, 10)
    assert ada.p == 0


def test_ada_target_and_sync():
    some = torch.cat([torch.ones(75), -torch.ones(25)])  # r_t = 0.5
    for target, direction in ((0.4, 1), (0.6, -1)):
        ada = AdaptiveAugment(target, clips=1000, interval=1, start=0.5)
        ada.update(some, 100)
        assert torch.isclose(ada.p, torch.tensor(0.5 + direction * 0.1))
    # Two processes see what one sees.
    left, right = AdaptiveAugment(clips=1000, interval=1), AdaptiveAugment(clips=1000, interval=1)
    single = AdaptiveAugment(clips=1000, interval=1)
    logits = torch.randn(40, generator=torch.Generator().manual_seed(0)) + 1.5
    sums = []
    left.update(logits[:20], 20, sync=lambda x: sums.append(x) or x)
    right.update(logits[20:], 20, sync=lambda x: x + sums[0])
    single.update(logits, 40)
    assert torch.equal(right.p, single.p) and torch.equal(right.r_t, single.r_t)
