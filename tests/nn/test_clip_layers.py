"""Layers of clip-to-clip networks against the library's 2-D ones."""

from __future__ import annotations

import torch

from vidiff.clip import ClipSpec
from vidiff.nn.clip_layers import Double
from vidiff.nn.resnet import (
    ClipConv,
    ResnetGenerator,
)

SMALL = ClipSpec(num_frames=8, resolution=16, width=4, num_classes=3)


def test_frame_norm_is_instance_norm_of_images():
    clip = torch.randn(2, 4, 3, 8, 8)
    network = ResnetGenerator(SMALL, 1, norm="frame").layers[1]
    expected = torch.stack([torch.nn.functional.instance_norm(clip[:, :, t]) for t in range(3)], dim=2)
    torch.testing.assert_close(network(clip), expected, rtol=1e-5, atol=1e-5)


def test_strided_convolutions_halve():
    assert ClipConv(3, 4, 4, 2)(torch.randn(1, 3, 5, 16, 12)).shape == (1, 4, 5, 8, 6)
    assert ClipConv(3, 4, 3, 2)(torch.randn(1, 3, 5, 16, 12)).shape == (1, 4, 5, 8, 6)


def test_doubling_is_bilinear_interpolation():
    x = torch.randn(2, 3, 4, 5, 7)
    frames = torch.nn.functional.interpolate(x.flatten(0, 2)[:, None], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(Double()(x), frames.reshape(2, 3, 4, 10, 14), atol=1e-5, rtol=1e-5)
