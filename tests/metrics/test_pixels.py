"""Pixel measures: motion in levels of brightness, distances between clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vidiff.metrics.pixels import FrameDifference, Thumbnail, mean_pair_distance


def test_motion_in_grey_levels():
    clips = torch.zeros(2, 3, 4, 16, 16, dtype=torch.uint8)
    clips[0, :, 1::2] = 255  # flips fully every frame
    clips[1, :, 2:] = 30  # one step of 30 in three pairs
    assert FrameDifference()(clips).flatten().tolist() == [255.0, 10.0]
    with pytest.raises(ValueError, match="2 frames"):
        FrameDifference()(clips[:, :, :1])


def test_thumbnail_distance_is_a_root_mean_square():
    black, white = (
        torch.zeros(1, 3, 5, 20, 24, dtype=torch.uint8),
        torch.full((1, 3, 5, 20, 24), 255, dtype=torch.uint8),
    )
    out = Thumbnail()(torch.cat([black, white]))
    assert (out[0] - out[1]).norm().item() == pytest.approx(1.0, rel=1e-5)


def test_mean_pair_distance():
    x = np.random.Generator(np.random.PCG64(0)).standard_normal((9, 4))
    table = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    assert mean_pair_distance(x) == pytest.approx(table.sum() / (9 * 8), rel=1e-12)  # 8 steps on a ring of 9: all pairs
    assert mean_pair_distance(np.repeat(x[:1], 20, 0)) == 0
    large = np.random.Generator(np.random.PCG64(1)).standard_normal((400, 64))
    assert mean_pair_distance(large) == pytest.approx(math.sqrt(128), rel=0.02)
    assert mean_pair_distance(large) == mean_pair_distance(torch.from_numpy(large))
