"""The embedded set for two eyes: what the left one sees at x is at x minus its disparity in the right one."""

from __future__ import annotations

import numpy as np
import pytest

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.shapes.render import render_dataset
from vidiff.data.shapes.scene import render_scene
from vidiff.data.shapes.stereo import disparities, render_stereo, stereo_truth
from vidiff.video.spherical import Spherical, read_spherical


@pytest.mark.parametrize("style", ["plain", "night", "cartoon"])
def test_the_right_eye_sees_what_the_truth_says(style):
    """Read at x - d by linear interpolation, away from edges, where something may be hidden."""
    left, right = np.split(render_stereo(0, 5, style, 2, 64).astype(float), 2, axis=2)
    truth = stereo_truth(0, 5, 2, 64)
    assert len(np.unique(truth)) == 2 + (len(np.unique(truth)) > 2) and truth.min() < 0 < truth.max()
    t, y, x = np.meshgrid(*(np.arange(n) for n in truth.shape), indexing="ij")
    place = x - truth
    low = np.clip(np.floor(place).astype(int), 0, 62)
    part = (place - low)[..., None]
    read = right[t, y, low] * (1 - part) + right[t, y, low + 1] * part
    error = np.abs(read - left).mean(-1)
    calm = np.ones_like(error, bool)
    for axis, by in ((1, 2), (2, 6)):  # far from where the truth jumps, and from the border
        for step in range(-by, by + 1):
            calm &= np.roll(truth, step, axis) == truth
    calm[:, :, :6] = calm[:, :, -6:] = False
    assert calm.mean() > 0.3 and np.median(error[calm]) < 2.0 and error[calm].mean() < 6.0
    assert np.abs(right - left).mean() > 2 * error[calm].mean() or style == "cartoon"


def test_the_middle_of_both_eyes_is_the_flat_scene(monkeypatch):
    from vidiff.data.shapes import stereo

    monkeypatch.setattr(stereo, "disparities", lambda seed, scene: (0.0, (0.0, 0.0)))
    flat = render_scene(0, 6, "night", 3, 32)
    assert np.array_equal(render_stereo(0, 6, "night", 3, 32), np.concatenate([flat, flat], 2))
    assert not stereo_truth(0, 6, 3, 32).any()


def test_distances_are_a_function_of_the_scene():
    ground, sprites = disparities(0, 1)
    assert -0.04 <= ground <= -0.02 and 0.03 <= sprites[0] <= sprites[1] <= 0.09
    assert disparities(0, 1) == (ground, sprites) != disparities(0, 2)


def test_a_set_is_rendered_and_read(tmp_path):
    render_dataset(tmp_path / "set", videos=4, frames=6, resolution=32, projection="stereo")
    assert all(read_spherical(p) == Spherical("flat", "left-right") for p in (tmp_path / "set").rglob("*.mp4"))
    data = ClipDataModule(tmp_path / "set", num_frames=4, resolution=16, projection="stereo", num_workers=0)
    assert next(iter(data.eval_batches("train", 2)))["clip"].shape == (2, 3, 4, 16, 32)
