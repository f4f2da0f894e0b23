"""Degradations: what each does to a clip, and that a clip's damage is a function of its key alone."""

from __future__ import annotations

import math

import pytest
import torch

from vidiff import keyed
from vidiff.augment import degrade as d
from vidiff.errors import UsageError

EVERY = [
    d.GaussianNoise(),
    d.PoissonNoise(),
    d.Blur(),
    d.Jpeg(),
    d.Scratches(),
    d.MissingBlocks(),
    d.LowResolution(2),
    d.LowResolution(4),
    d.DroppedFrames((0.5, 0.5)),
]


def clips(count: int = 3, channels: int = 3, frames: int = 6, side: int = 32) -> torch.Tensor:
    """Smooth clips in [0.2, 0.8] that move by about a pixel a frame."""
    y, x, t = (torch.arange(n, dtype=torch.float32) for n in (side, side, frames))
    phase = torch.arange(count * channels).reshape(count, channels, 1, 1, 1) * 0.7
    return 0.5 + 0.3 * torch.sin(0.3 * (x + t[:, None, None]) + 0.2 * y[:, None] + phase)


def damaged(op: d.Degradation, x: torch.Tensor, slots=range(3), seed: int = 0) -> torch.Tensor:
    return d.degrade(x, [op], slots, seed)


@pytest.mark.parametrize("op", EVERY, ids=lambda op: type(op).__name__)
@pytest.mark.parametrize("channels, side", [(3, 32), (1, 30)])
def test_every_damage_is_keyed_and_of_8_bits(op, channels, side):
    x = clips(channels=channels, side=side)
    before = torch.get_rng_state()
    whole = damaged(op, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.shape == x.shape and whole.dtype == torch.float32
    levels = whole.double() * 255
    assert float((levels - levels.round()).abs().max()) < 1e-4 and 0 <= float(whole.min()) <= float(whole.max()) <= 1
    assert torch.equal(damaged(op, x[1:], range(1, 3)), whole[1:])  # whatever else is in the batch
    assert not torch.equal(whole, d.to_8_bits(x))
    if not isinstance(op, d.LowResolution):  # which has nothing to draw
        assert not torch.equal(damaged(op, x, seed=1), whole)


def test_noise_has_the_strength_that_it_says():
    x = torch.full((1, 3, 8, 64, 64), 0.5)
    assert float((damaged(d.GaussianNoise((25, 25)), x, [0]) - x).std()) * 255 == pytest.approx(25, rel=0.02)
    for tone in (0.25, 0.75):  # of a Poisson variable the variance is the mean
        y = damaged(d.PoissonNoise((40, 40)), torch.full_like(x, tone), [0])
        assert float(y.mean()) == pytest.approx(tone, abs=0.005)
        assert float(y.std()) == pytest.approx(math.sqrt(tone / 40), rel=0.05)


def test_blur_is_a_convolution_with_a_gaussian():
    """A wave of w radians a pixel is weakened by exp(-w^2 s^2 / 2), and flat clips stay."""
    w, s = 2 * math.pi / 16, 1.5
    wave = (0.5 + 0.4 * torch.sin(w * torch.arange(64.0))).expand(1, 3, 2, 64, 64)
    out = d.Blur((s, s))(wave[0], keyed.generator(0))[..., 16:48]
    assert float(out.max() - 0.5) == pytest.approx(0.4 * math.exp(-0.5 * (w * s) ** 2), rel=0.01)
    assert torch.allclose(d.Blur()(torch.full((3, 2, 8, 8), 0.3), keyed.generator(0)), torch.tensor(0.3), atol=1e-6)


def test_worse_settings_do_more_damage():
    x = clips()
    errors = lambda ops: [float((damaged(op, x) - x).square().mean()) for op in ops]  # noqa: E731
    for rising in (
        [d.GaussianNoise((s, s)) for s in (5, 15, 50)],
        [d.PoissonNoise((k, k)) for k in (200, 50, 10)],
        [d.Blur((s, s)) for s in (0.5, 1.5, 4.0)],
        [d.Jpeg((q, q)) for q in (95, 30, 5)],
        [d.LowResolution(f) for f in (2, 4, 8)],
        [d.MissingBlocks(size=(s, s)) for s in (0.1, 0.3, 0.8)],
    ):
        found = errors(rising)
        assert found == sorted(found) and found[0] < 0.8 * found[-1], rising[0]


def test_lost_parts_are_filled_and_the_rest_is_as_it_was():
    x = clips(frames=12)
    y = damaged(d.MissingBlocks(count=(1, 1), size=(0.25, 0.25), frames=(2, 2), fill=0.0), x)
    lost = (y == 0).all(1)  # (B, T, H, W); the clips themselves have no such value
    assert lost.sum((2, 3)).unique().tolist() == [64]  # 8 x 8 of 32 x 32 pixels in every frame
    assert torch.equal(y[~lost.unsqueeze(1).expand_as(y)], d.to_8_bits(x)[~lost.unsqueeze(1).expand_as(y)])
    assert torch.equal(lost[:, ::2], lost[:, 1::2]) and not torch.equal(lost[:, 0], lost[:, 2])
    z = damaged(d.Scratches(), x)
    touched = (z != d.to_8_bits(x)).any(1)
    assert 0 < float(touched.float().mean()) < 0.3
    columns = touched.any(2)  # a scratch runs from top to bottom
    assert torch.equal(touched.all(2), columns)


def test_dropped_frames_repeat_the_one_before():
    x = d.to_8_bits(clips(count=1, frames=40))
    y = damaged(d.DroppedFrames((0.5, 0.5)), x, [0])
    assert torch.equal(y[:, :, 0], x[:, :, 0])
    kept = [torch.equal(y[:, :, t], x[:, :, t]) for t in range(40)]
    assert 8 < sum(kept) < 32
    assert all(kept[t] or torch.equal(y[:, :, t], y[:, :, t - 1]) for t in range(1, 40))
    assert torch.equal(damaged(d.DroppedFrames((0, 0)), x, [0]), x)


def test_low_resolution_leaves_what_half_the_pixels_can_hold():
    x = clips()
    assert float((damaged(d.LowResolution(2), x) - x).abs()[..., 4:-4, 4:-4].max()) < 0.02  # slow waves
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(1, 3, 2, 32, 32)
    assert (
        float(damaged(d.LowResolution(2), board, [0])[..., 4:-4, 4:-4].std()) < 0.02
    )  # a grid of single pixels is gone


def test_one_of_several_and_none():
    x = d.to_8_bits(clips(count=40, frames=2, side=8))
    one = damaged(d.OneOf([d.MissingBlocks(fill=0.0), d.MissingBlocks(fill=1.0)]), x, range(40))
    black, white = (one == 0).flatten(1).any(1), (one == 1).flatten(1).any(1)
    assert not (black & white).any() and (black | white).all() and 8 < int(black.sum()) < 32
    untouched = (damaged(d.GaussianNoise(p=0.5), x, range(40)) == x).flatten(1).all(1)
    assert 8 < int(untouched.sum()) < 32


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: d.GaussianNoise(sigma=(-1, 2)), "GaussianNoise.sigma"),
        (lambda: d.GaussianNoise(sigma=(9, 2)), "GaussianNoise.sigma"),
        (lambda: d.Jpeg(quality=(0, 50)), "Jpeg.quality"),
        (lambda: d.LowResolution(1), "LowResolution.factor"),
        (lambda: d.MissingBlocks(size=(0.5, 1.5)), "MissingBlocks.size"),
        (lambda: d.Blur(p=2.0), "Blur.p"),
        (lambda: d.OneOf([]), "OneOf.degradations is empty"),
        (lambda: d.OneOf([torch.nn.ReLU()]), "ReLU is no degradation"),
    ],
)
def test_what_cannot_be_is_refused(make, name):
    with pytest.raises(UsageError, match=name):
        make()
