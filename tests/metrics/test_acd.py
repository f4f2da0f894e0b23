"""Average content distance on constructed clips, on the real set, and through the evaluator."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vidiff.metrics.acd import acd_shapes
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.resolve import resolve_metrics


def moving_square(colours, size=24, side=6):
    """uint8 (3, T, H, W): a square that moves on black, with a colour for each frame (None = no square)."""
    clip = torch.zeros(3, len(colours), size, size, dtype=torch.uint8)
    for t, colour in enumerate(colours):
        if colour is not None:
            clip[:, t, 2 + t : 2 + t + side, 3 : 3 + side] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return clip


def test_a_shape_that_keeps_its_colour_has_none():
    assert acd_shapes(moving_square([(200, 40, 10)] * 8)[None]).tolist() == [0.0]
    assert acd_shapes(torch.zeros(2, 3, 4, 16, 16, dtype=torch.uint8)).tolist() == [0.0, 0.0]  # nothing, and worthless


def test_known_distances():
    two = moving_square([(100, 50, 40), (103, 54, 40)])
    assert acd_shapes(two[None]).item() == pytest.approx(5.0, abs=1e-9)
    # All pairs count, not neighbours alone: A B A B has 4 of 6 pairs at a distance, all 3 neighbouring ones.
    alternating = moving_square([(100, 50, 40), (103, 54, 40)] * 2)
    assert acd_shapes(alternating[None]).item() == pytest.approx(5.0 * 4 / 6, abs=1e-9)
    gone = moving_square([(60, 80, 0), None, (60, 80, 0)])
    assert acd_shapes(gone[None]).item() == pytest.approx(100.0 * 2 / 3, abs=1e-9)
    ramp = moving_square([(100 + 5 * t, 90, 90) for t in range(6)])
    mean = np.mean([5 * abs(a - b) for a, b in itertools.combinations(range(6), 2)])
    assert acd_shapes(torch.stack([ramp, ramp.flip(1)])).tolist() == pytest.approx([mean, mean], abs=1e-9)
    grey = torch.full((1, 1, 2, 4, 4), 50, dtype=torch.uint8)
    grey[:, :, 1] = 60
    assert acd_shapes(grey).item() == pytest.approx(10 * math.sqrt(3), abs=1e-9)


def test_against_loops_on_noise():
    clips = torch.randint(0, 256, (3, 3, 5, 6, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    clips[0, :, 2] = 20  # a frame without a shape
    for clip, got in zip(clips.numpy().astype(float), acd_shapes(clips).tolist()):
        colours = []
        for t in range(5):
            pixels = [clip[:, t, y, x] for y in range(6) for x in range(7) if clip[:, t, y, x].max() > 32]
            colours.append(np.mean(pixels, axis=0) if pixels else np.zeros(3))
        pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)]
        assert got == pytest.approx(np.mean(pairs), abs=1e-9)


def test_dim_background_noise_does_not_count():
    clip = moving_square([(200, 100, 50)] * 4)
    noise = torch.randint(0, 33, clip.shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert acd_shapes(torch.where(clip > 0, clip, noise)[None]).item() == 0.0


def test_refusals():
    for bad in (torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 4, 8, 8)):
        with pytest.raises(ValueError):
            acd_shapes(bad)


def test_as_a_metric():
    """`acd_shapes` is the mean over generated clips itself, not a ratio to the real ones, whose own is 0."""
    real = torch.stack([moving_square([(90 + k, 40, 40)] * 4) for k in range(4)])
    fake = torch.stack([moving_square([(100, 50, 40 + k), (103, 54, 40 + k)] * 2) for k in range(3)])
    (metric,) = resolve_metrics("acd_shapes", num_frames=4)
    result = Evaluator([metric], lambda: [(range(4), real)]).evaluate([(range(3), fake)])["acd_shapes"]
    assert result["value"] == pytest.approx(10 / 3, rel=1e-6) and result["real"] == result["floor"] == 0.0
    assert result["protocol"]["extractor"] == "shape_colours" and not result["official"] and not result["low_n"]


def test_the_real_set_has_none():
    root = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mocogan_shapes"
    if not root.is_dir():
        pytest.skip("needs ../shared/data/mocogan_shapes")
    from PIL import Image

    strips = [np.asarray(Image.open(p).convert("RGB")) for d in "01" for p in sorted((root / d).glob("*.png"))[:10]]
    # (64, 32 * 64, 3) -> (3, 32, 64, 64)
    clips = torch.stack([torch.from_numpy(s.reshape(64, 32, 64, 3).transpose(3, 1, 0, 2).copy()) for s in strips])
    assert acd_shapes(clips[:, :, :16]).max() == 0.0
    mixed = torch.where(torch.arange(32)[:, None, None] % 2 == 0, clips, clips.roll(1, 0))  # two shapes in turn
    assert acd_shapes(mixed).mean() > 20
