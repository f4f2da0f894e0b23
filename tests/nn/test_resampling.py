"""Halved clips are bilinear interpolations, and no frame is lost."""

from __future__ import annotations

import torch

from vidiff.nn.resampling import shrink


def test_shrink_is_bilinear_interpolation_and_loses_no_frame():
    x = torch.randn(2, 3, 4, 8, 8)
    half = torch.nn.functional.interpolate(x, scale_factor=0.5, mode="trilinear", align_corners=False)
    torch.testing.assert_close(shrink(x, time=True), half)
    assert shrink(x, time=False).shape == (2, 3, 4, 4, 4)
    odd = shrink(x[:, :, :3], time=True)
    torch.testing.assert_close(odd[:, :, 1], shrink(x[:, :, 2:3], time=False)[:, :, 0])
