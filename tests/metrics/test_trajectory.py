"""The 22 numbers of a path, written a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vidiff.metrics.trajectory import Trajectory, trajectory
from vidiff.pretrained.lite0 import lite0_available


def test_the_numbers_of_a_path():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((8, 5))
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    angles = [math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(steps, steps[1:])]
    facts = [f(x) for x in (lengths, angles) for f in (np.mean, np.min, np.max, np.var)]
    expected = [*lengths, *angles, *facts, np.std(np.diff(lengths))]
    assert trajectory(torch.from_numpy(points)[None])[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_straight_and_still_paths():
    straight = trajectory(torch.arange(8.0)[None, :, None].repeat(1, 1, 4))[0]
    assert straight[:7].tolist() == pytest.approx([2.0] * 7) and straight[7:13].abs().max() < 1e-3
    still = trajectory(torch.zeros(1, 8, 4))[0]
    assert torch.isfinite(still).all() and still[7:13].tolist() == pytest.approx([math.pi / 2] * 6)


@pytest.mark.skipif(not lite0_available(), reason="EfficientNet-Lite0 is not installed")
def test_of_clips():
    clips = torch.randint(0, 256, (2, 3, 16, 32, 32), dtype=torch.uint8)
    found = Trajectory()(clips)
    assert found.shape == (2, 22) and torch.isfinite(found).all()
    frozen = Trajectory()(clips[:, :, :1].expand(-1, -1, 16, -1, -1))
    assert frozen[:, :7].abs().max() < 1e-2
