"""The resized crop reads inside of its box."""

from __future__ import annotations

import torch

from vidiff.augment import (
    ResizedCrop,
    build_augment,
)

KEY = (7, "augment", 3)


def test_resized_crop_reads_inside_the_box():
    ramp = torch.linspace(0, 1, 16).expand(64, 1, 2, 16, 16).contiguous()
    out = build_augment([ResizedCrop((0.5, 0.5), (1.0, 1.0), p=1.0)])(ramp, KEY)
    width = out[:, 0, 0, 0, -1] - out[:, 0, 0, 0, 0]
    assert torch.allclose(width, torch.full((64,), 10 / 15), atol=1e-4)  # sqrt(0.5) * 16 = 11 pixels
    assert torch.allclose(out.diff(dim=-1), (width / 15)[:, None, None, None, None].expand(64, 1, 2, 16, 15), atol=1e-4)
    ones = build_augment([ResizedCrop((0.3, 1.0), p=1.0)])(torch.ones(32, 3, 2, 24, 16), KEY)
    assert torch.allclose(ones, torch.ones_like(ones), atol=1e-5)
