"""Measures of a translation against its source and its true counterpart, with values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from vidiff.metrics.paired import (
    flicker,
    gradient_energy,
    grid_peak,
    l1,
    nyquist_energy,
    psnr,
    ssim,
    temporal_error,
)


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


def test_a_grid_stands_out_of_its_surroundings():
    """Every other pixel, or every fourth, brighter by a tenth: many times the energy beside it; noise and edges: 1."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, 8, 32, 32), generator=generator, dtype=torch.uint8)
    smooth = torch.nn.functional.avg_pool3d(noise.float(), (1, 5, 5), 1, (0, 2, 2))
    plain = grid_peak(smooth.to(torch.uint8))
    assert (0.5 < grid_peak(noise)).all() and (grid_peak(noise) < 2).all() and (plain < 3).all()
    assert torch.equal(grid_peak(torch.full((2, 3, 4, 32, 32), 99, dtype=torch.uint8)), torch.ones(2))
    for period in (2, 4):
        gridded = smooth.clone()
        gridded[..., ::period] += 25
        assert (grid_peak(gridded.clamp(0, 255).to(torch.uint8)) > 5 * plain).all()
    assert grid_peak(smooth[..., :30, :27].to(torch.uint8)).shape == (2,)


def test_temporal_error_is_blind_to_colors_and_sees_what_moves_otherwise():
    clip = torch.randint(0, 200, (2, 3, 5, 8, 8), dtype=torch.uint8)
    assert temporal_error(clip + 40, clip).tolist() == pytest.approx([0.0, 0.0], abs=1e-7)
    shaken = clip.clone()
    shaken[0, :, 2] += 50  # two of four differences are off by 50
    assert temporal_error(shaken, clip).tolist() == pytest.approx([50 / 255 / 2, 0.0], abs=1e-6)
    assert temporal_error(clip[:, :, :1], clip[:, :, :1]).isnan().all()


def test_gradient_energy_of_a_step_and_of_noise():
    step = torch.zeros(1, 3, 2, 8, 8, dtype=torch.uint8)
    step[..., 4:] = 255  # one of seven differences across, none down
    assert gradient_energy(step).item() == pytest.approx(0.5 / 7, rel=1e-5)
    noise = torch.randint(0, 256, (1, 3, 4, 64, 64), dtype=torch.uint8)
    variance = noise.double().div(255).var().item()
    assert gradient_energy(noise).item() == pytest.approx(2 * variance, rel=0.03)
