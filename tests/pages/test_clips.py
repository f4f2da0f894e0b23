"""Videos of a page: pixels where they belong, steps in order, bytes within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from runs import clips, write_run

from vidiff.pages.clips import columns_of, encoded, fitted, newest_samples, over_time, wall
from vidiff.pages.folder import read_run
from vidiff.video.write import to_frames, write_mp4


def plain(value: int, frames: int = 3, side: int = 16) -> np.ndarray:
    return np.full((frames, side, side, 3), value, np.uint8)


def test_every_pixel_of_a_clip_becomes_a_square():
    clip = to_frames(clips(1, frames=2, side=16)[0])
    shown = wall([clip, clip], 2)
    assert shown.shape == (2, 132, 262, 3)
    assert np.array_equal(shown[:, 2:130:8, 2:130:8], clip) and np.array_equal(shown[:, 9:130:8, 139:260:8], clip)


@pytest.mark.parametrize("side, columns", [(16, 4), (32, 4), (48, 4), (64, 4), (128, 4), (256, 2), (512, 1), (1024, 1)])
def test_a_wall_fits_on_a_screen(side, columns):
    assert columns_of(side) == columns


def test_samples_over_time_are_a_row_a_step(tmp_path):
    run = write_run(tmp_path / "run", samples=False)
    for i in range(20):
        strip = np.concatenate([plain(10 * i + 20 * (c % 2)) for c in range(8)], axis=2)
        write_mp4(run / "samples" / f"step-{100 * i:07d}.mp4", strip)
    shown, labels = over_time(read_run(run))
    assert labels[0] == "step 0" and labels[-1] == "step 1,900" and len(labels) == 6
    steps = [int(label.split()[1].replace(",", "")) for label in labels]
    middles = shown[0, 50::98, 50::98, 0].astype(int)
    assert middles.shape == (6, 8)
    for step, row in zip(steps, middles):
        assert np.abs(row - [step // 10 + 20 * (c % 2) for c in range(8)]).max() <= 4


def test_a_translation_shows_its_sources_once(tmp_path):
    run = write_run(tmp_path / "run", translates=True, samples=False)
    for i in (0, 10, 20):
        rows = [np.concatenate([plain(v + 20 * c) for c in range(4)], axis=2) for v in (10, 100 + 2 * i)]
        write_mp4(run / "samples" / f"step-{i:07d}.mp4", np.concatenate(rows, axis=1))
    shown, labels = over_time(read_run(run))
    assert labels == ["source", "step 0", "step 10", "step 20"]
    assert np.abs(shown[0, 50::98, 50, 0].astype(int) - [10, 100, 120, 140]).max() <= 4
    title, newest = newest_samples(read_run(run))
    assert "above" in title and np.abs(newest[0, 66::130, 66, 0].astype(int) - [10, 140]).max() <= 4


def test_one_evaluation_shows_no_change(tmp_path):
    run = write_run(tmp_path / "run", samples=False)
    write_mp4(run / "samples" / "step-0000000.mp4", plain(9))
    assert over_time(read_run(run)) is None


def test_a_large_video_becomes_coarser_and_keeps_its_frames(tmp_path):
    path = tmp_path / "x.mp4"
    write_mp4(path, wall([to_frames(c) for c in clips(1, frames=4)], 1))
    size = path.stat().st_size
    assert fitted(path, size) == path.read_bytes()
    smaller = fitted(path, size // 2)
    assert 0 < len(smaller) <= size // 2
    assert fitted(path, 200) is None and len(encoded(plain(9))) > 200
