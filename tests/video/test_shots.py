"""Cuts: none in what moves, each where shots are joined."""

from __future__ import annotations

import random

import av
import numpy as np
import pytest
from films import ramp
from helpers import SHARED

from vidiff.data.shapes.scene import render_scene
from vidiff.video.shots import color_change, is_cut, shot_starts


def test_the_change_is_a_distance_between_nothing_and_all():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (20, 31, 3), dtype=np.uint8) for _ in range(2))
    assert color_change(a, a) == 0.0 and color_change(a, b) == pytest.approx(color_change(b, a))
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert color_change(black, white) == 1.0
    half = black.copy()
    half[:, :2] = 255  # half of the left quarters
    assert color_change(black, half) == pytest.approx(0.25)


def test_motion_is_no_cut_and_another_picture_is():
    moving = ramp(12, 48, 64)
    assert not any(is_cut(a, b) for a, b in zip(moving, moving[1:]))
    assert is_cut(moving[0], 255 - moving[0][::-1])


def test_a_cut_right_behind_another_does_not_count_and_one_before_the_end_does():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    film = [black] * 5 + [white] * 6 + [black] * 3 + [white] * 8 + [black] * 2
    assert list(shot_starts(film)) == [0, 11, 22]  # at 5 the first shot, at 14 the second one is too short
    assert list(shot_starts(film, min_frames=1)) == [0, 5, 11, 14, 22]


@pytest.mark.parametrize("detector", ["color", "adaptive"])
@pytest.mark.parametrize(("name", "cuts"), [("bikes", [30, 76, 137, 187, 242]), ("carphone_pristine", [])])
def test_cuts_of_a_real_film(name, cuts, detector):
    path = SHARED / "data" / "clips" / f"{name}.mp4"
    if not path.is_file():
        pytest.skip(f"needs {path.name} beside the checkout")
    with av.open(str(path)) as reader:
        frames = [f.reformat(96, 72, format="rgb24").to_ndarray() for f in reader.decode(video=0)]
    assert list(shot_starts(frames, detector)) == [0, *cuts]


def test_detectors_on_joined_scenes():
    """Six films of eight embedded scenes, 10 to 30 frames each: cuts that are found, and what else is."""
    found = {}
    for detector in ("color", "adaptive"):
        hits = false = 0
        for film in range(6):
            numbers, frames, truth = random.Random(film), [], []
            for shot in range(8):
                truth.append(len(frames))
                frames += list(render_scene(0, 8 * film + shot, frames=numbers.randint(10, 30)))
            starts = set(shot_starts(frames, detector))
            hits, false = hits + len(starts & set(truth[1:])), false + len(starts - set(truth))
        found[detector] = (hits, false)
        print(f"{detector}: {hits} of 42 cuts, {false} elsewhere")
    assert found["color"] == (42, 0) and 26 <= found["adaptive"][0] <= 36 and found["adaptive"][1] <= 1
