"""The networks of the watermark: what they begin as, and what holds whatever they learn."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import thwc_to_clip
from vidiff.data.shapes.scene import render_scene
from vidiff.nn.watermark import BAND, FLAT, GRID, Watermark, WatermarkJudge, first_patterns, texture, to_square


def frames(height: int = 64, width: int = 64, count: int = 4) -> torch.Tensor:
    """Frames of an embedded scene, of any size, (N, 3, H, W) in [0, 1]."""
    clip = thwc_to_clip(render_scene(3, 1, frames=count, resolution=96)).transpose(0, 1).float() / 255
    return torch.nn.functional.interpolate(clip, (height, width), mode="bilinear", antialias=True)


def bits(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, (1, 32), generator=torch.Generator().manual_seed(seed)).mul(2).sub(1.0).repeat(count, 1)


def test_patterns_are_orthogonal_and_within_their_band():
    patterns = first_patterns(32, torch.Generator().manual_seed(0))
    flat = patterns.flatten(1)
    torch.testing.assert_close(flat @ flat.T / flat.shape[1], torch.eye(32), atol=1e-4, rtol=0)
    spectrum = torch.fft.fft2(patterns).abs()
    f = torch.fft.fftfreq(GRID) * GRID
    radius = (f[:, None].square() + f[None].square()).sqrt()
    outside = (radius < BAND[0]) | (radius > BAND[1])
    assert spectrum[..., outside].max() < 1e-3 * spectrum.max()


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (144, 176), (33, 57)])
@pytest.mark.parametrize("psnr", [36.0, 42.0])
def test_the_psnr_is_as_asked_at_any_size_whatever_the_network_learned(size, psnr):
    x, torch_state = frames(*size) * 0.6 + 0.2, torch.random.get_rng_state()
    torch.manual_seed(1)
    mark = Watermark().eval()
    torch.nn.init.normal_(mark.writer.correct[-1].weight)  # anything
    torch.random.set_rng_state(torch_state)
    with torch.no_grad():
        marked = mark(x, bits(4), psnr)
    found = -10 * torch.log10((marked - x).square().mean((1, 2, 3)))
    assert marked.shape == x.shape
    torch.testing.assert_close(found, torch.full((4,), psnr), atol=0.02, rtol=0)


def test_untrained_it_is_read_back_also_from_another_size():
    """It begins as spread spectrum; other bits and unmarked frames are read as such."""
    x, mark = frames(96, 96), Watermark().eval()
    with torch.no_grad():
        marked = mark(x, bits(4), 38.0)
        wrong = ((mark.reader(marked).mean(0) > 0) != (bits(1)[0] > 0)).sum()
        half = torch.nn.functional.interpolate(marked, (48, 48), mode="bilinear", antialias=True)
        wrong_half = ((mark.reader(half).mean(0) > 0) != (bits(1)[0] > 0)).sum()
        other = ((mark.reader(marked).mean(0) > 0) != (bits(1, 1)[0] > 0)).sum()
        unmarked = ((mark.reader(x).mean(0) > 0) != (bits(1)[0] > 0)).sum()
    assert wrong == 0 and wrong_half <= 1
    assert 6 <= other <= 26 and 6 <= unmarked <= 26


def test_what_the_picture_says_already_gets_less():
    """The informed strength: falls with the agreement of the picture, rises against it, and is symmetric in the bit."""
    x, mark = torch.full((2, 3, 64, 64), 0.5), Watermark(2, informed=1.0).eval()
    with torch.no_grad():
        told = mark.writer(x, torch.ones(2, 2), torch.tensor([[4.0, 0.0], [-4.0, 0.0]]), 36.0) - x
    square = to_square(told)
    near = torch.nn.functional.avg_pool2d(
        torch.einsum("dc,nchw->ndhw", torch.linalg.inv(mark.writer.to_rgb), square), 2
    )
    share = torch.einsum("nchw,kchw->nk", near, mark.writer.patterns)
    assert share[0, 0] < 0.2 * share[0, 1]  # agreed already
    assert share[1, 0] > 2 * share[1, 1]  # the picture said the opposite


def test_flat_places_take_less():
    x = torch.full((1, 3, 64, 64), 0.5)
    x[..., 32:] += 0.5 * torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    places = texture(x)
    assert float(places[..., :24].max()) == pytest.approx(FLAT, abs=1e-4)
    assert float(places[..., 40:].min()) == pytest.approx(1, abs=1e-4)


def test_the_judge_sees_change_over_time_and_not_brightness():
    judge = WatermarkJudge(4)
    clip = torch.rand(1, 3, 2, 48, 48, generator=torch.Generator().manual_seed(0)) * 0.5
    still = clip[:, :, :1].expand(-1, -1, 2, -1, -1)
    with torch.no_grad():
        assert judge(clip).shape == (1,)
        assert abs(float(judge(still + 0.3) - judge(still))) < 0.05 * abs(float(judge(still) - judge(clip))) + 1e-4
        assert float((judge(still) - judge(clip)).abs()) > 1e-4


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_are_finite_where_a_picture_is_flat(level):
    mark = Watermark()
    logits = mark.reader(mark(torch.full((2, 3, 48, 48), level), bits(2), 38.0))
    torch.nn.functional.softplus(-logits).mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in mark.parameters())
    logits = mark.reader(torch.full((1, 3, 48, 48), level, requires_grad=True))
    assert logits.isfinite().all()
