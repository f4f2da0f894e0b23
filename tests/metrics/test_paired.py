"""Measures of a translation against its source and its true counterpart, with values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from vidiff.metrics.paired import flicker, l1, nyquist_energy, psnr, ssim


def test_pixel_measures():
    clip = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    other = clip.clone()
    other[0, :, :, :8] = 255 - other[0, :, :, :8]
    difference = (clip.double() - other.double()) / 255
    expected = 10 * torch.log10(1 / difference[0].square().mean())
    assert psnr(clip, other).tolist() == pytest.approx([float(expected), 100.0], abs=1e-4)
    assert l1(clip, other).tolist() == pytest.approx(difference.abs().mean((1, 2, 3, 4)).tolist(), abs=1e-6)
    assert ssim(clip, other)[1] == pytest.approx(1.0, abs=1e-5) and ssim(clip, other)[0] < 0.9
    ramp = (torch.arange(6, dtype=torch.uint8) * 20).view(1, 1, 6, 1, 1).expand(1, 3, 6, 8, 8)
    assert flicker(ramp).item() == pytest.approx(0.0, abs=1e-7)
    blink = (torch.arange(6, dtype=torch.uint8) % 2 * 255).view(1, 1, 6, 1, 1).expand(1, 3, 6, 8, 8)
    assert flicker(blink).item() == pytest.approx(1.0, abs=1e-6)
    assert flicker(blink[:, :, :2]).isnan().all()


def test_nyquist_energy_is_that_of_alternating_pixels():
    """Columns a, b, a, b ... of brightness: |F| = H W |a - b| / 2 at one frequency, and nothing for slow waves."""
    a, b, (h, w) = 40, 200, (8, 12)
    columns = torch.tensor([a, b] * (w // 2), dtype=torch.uint8).expand(1, 3, 2, h, w)
    expected = h * w * ((b - a) / 255 / 2) ** 2
    for clip in (columns, columns.roll(1, dims=-1), columns.transpose(-1, -2)):
        assert nyquist_energy(clip).item() == pytest.approx(expected, rel=1e-4)
    board = (torch.arange(h)[:, None] + torch.arange(w)) % 2 * 255  # counted once, though it is in both
    assert nyquist_energy(board.to(torch.uint8).expand(1, 3, 2, h, w)).item() == pytest.approx(h * w / 4, rel=1e-4)
    pairs = torch.tensor([a, a, b, b] * (w // 4), dtype=torch.uint8).expand(1, 3, 2, h, w)
    assert nyquist_energy(pairs).item() == pytest.approx(0.0, abs=1e-6)
    assert nyquist_energy(pairs[..., 1:]).isnan().all()
