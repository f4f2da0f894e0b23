"""Where the sprites are: known exactly from the renderer, found by a network, measured in pixels of the clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vidiff.data.shapes.scene import Truth, render_scene, scene_truth
from vidiff.metrics import position
from vidiff.metrics.position import SIDE, STRIDE, PositionRegressor, peaks, position_error, wanted_heat


def test_the_renderer_paints_the_sprite_where_it_says():
    """The pixels that sprites change have their centre of mass at the position (one sprite, symmetric shapes)."""
    checked = 0
    for scene in range(40):
        truth = scene_truth(5, scene, 6, 32)
        if truth["shapes"] in (["disc"], ["ring"]):
            where = Truth(5, 32).positions(f"train/plain/{scene:05d}.mp4", [1, 3, 5])
            assert where.shape == (3, 2, 2) and np.isnan(where[:, 1]).all()
            with_it, without = (render_scene(5, scene, "cartoon", 6, 32, sprites=s).astype(float) for s in (1, 0))
            changed = np.abs(with_it - without).sum(-1)[[1, 3, 5]] > 60  # (T, H, W)
            for mask, (x, y) in zip(changed, where[:, 0]):
                ys, xs = np.nonzero(mask)
                assert (xs.mean(), ys.mean()) == pytest.approx((x, y), abs=0.6)
            checked += 1
    assert checked >= 3


def test_positions_scale_with_the_clip():
    small, large = (Truth(5, side).positions("00003.mp4", range(4)) for side in (16, 64))
    assert (small + 0.5) * 4 == pytest.approx(large + 0.5, nan_ok=True)


def test_the_error_is_the_distance_under_the_better_assignment():
    truth = torch.tensor([[[[4.0, 4.0], [20.0, 20.0]]], [[[4.0, 4.0], [math.nan, math.nan]]]])  # (2, 1, 2, 2)
    found = torch.tensor([[[[20.0, 23.0], [4.0, 4.0]]], [[[7.0, 8.0], [4.0, 4.0]]]])
    assert position_error(found, truth).tolist() == pytest.approx([1.5, 5.0])
    assert position_error(found.flip(2), truth).tolist() == pytest.approx([1.5, 0.0])


def test_peaks_find_what_the_wanted_heat_holds():
    g = torch.Generator().manual_seed(0)
    where = torch.rand(50, 2, 2, generator=g) * 7 + 5
    where[:, 1] += 14.0  # never nearer than in the data
    where[::2, 1] = math.nan
    heat = wanted_heat(where, SIDE // STRIDE)
    assert heat.sum(1) == pytest.approx(torch.ones(50), abs=1e-5)
    found = peaks((heat + 1e-9).log().reshape(50, SIDE // STRIDE, -1))
    errors = position_error(found.unsqueeze(1), where.unsqueeze(1))
    assert float(errors.max()) < 0.15


@pytest.mark.parametrize("side", [16, 64])
def test_the_regressor_learns_and_repeats(side):
    """A square of another colour on each clip: found to within two pixels, at any size, the same in two trainings."""
    g = torch.Generator().manual_seed(1)
    clips, where = [], []
    unit = side // 16
    for _ in range(60):
        x, y = (int(v) for v in torch.randint(2, 14, (2,), generator=g))
        clip = torch.randint(0, 60, (3, 2, side, side), generator=g)
        clip[0, :, (y - 2) * unit : (y + 2) * unit, (x - 2) * unit : (x + 2) * unit] = 230
        clips.append(clip.to(torch.uint8))
        where.append([[[x * unit - 0.5, y * unit - 0.5], [math.nan] * 2]] * 2)
    clips, where = torch.stack(clips), torch.tensor(where)
    options = dict(seed=2, steps=25, batch_size=16)
    network = position.train_regressor(clips[:40], where[:40], **options)
    found = network.locate(clips[40:])
    assert found.shape == (20, 2, 2, 2)
    assert float(position_error(found, where[40:]).mean()) < 2.0 * unit / 2
    if side == 16:
        again = position.train_regressor(clips[:40], where[:40], **options)
        states = network.state_dict(), again.state_dict()
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.slow
def test_the_regressor_is_good_enough_on_every_style():
    """Below one pixel at 32 x 32 on scenes it has not seen, in every style."""
    sides = dict(frames=8, resolution=32)
    styles = ("plain", "night", "cartoon", "sketch")

    def draw(scenes):
        clips = {s: torch.from_numpy(np.stack([render_scene(5, i, s, **sides) for i in scenes])) for s in styles}
        where = np.stack([Truth(5, 32).positions(f"{i}.mp4", range(8)) for i in scenes])
        return {s: c.permute(0, 4, 1, 2, 3).contiguous() for s, c in clips.items()}, torch.from_numpy(where).float()

    parts = [draw(range(k * 60, (k + 1) * 60)) for k in range(4)]  # no scene in two styles
    train = torch.cat([clips[s] for s, (clips, _) in zip(styles, parts)])
    network = position.train_regressor(train, torch.cat([where for _, where in parts]))
    unseen, where = draw(range(1000, 1040))
    for clips in unseen.values():
        assert float(position_error(network.locate(clips), where).mean()) < 1.0


def test_grey_clips_and_batches():
    network = PositionRegressor(channels=1).eval()
    clips = torch.randint(0, 256, (5, 1, 3, 32, 32), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    assert torch.allclose(network.locate(clips), network.locate(clips, batch_size=2), atol=1e-3)
