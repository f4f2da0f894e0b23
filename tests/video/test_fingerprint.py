"""Hashes of frames: those of ImageHash, at the right times, alike for alike pictures."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from films import at_times, frames_of, moving_bar, ramp
from PIL import Image

from vidiff.data.shapes.scene import render_scene
from vidiff.video.fingerprint import HELD, SIDE, WINDOWS, fingerprint, hashes, sampled_frames
from vidiff.video.open import open_reader
from vidiff.video.write import write_mp4, write_npy


@pytest.mark.skipif(importlib.util.find_spec("imagehash") is None, reason="ImageHash is not installed")
def test_a_hash_is_that_of_imagehash():
    import imagehash

    for scene in range(4):
        image = Image.fromarray(render_scene(0, scene, frames=1, resolution=128)[0]).convert("L")
        ours = np.unpackbits(hashes(image)[0]).astype(bool)
        assert (ours == imagehash.phash(image, hash_size=SIDE).hash.reshape(-1)).all()


def test_the_windows_lie_in_the_frame_and_the_first_is_the_whole():
    assert WINDOWS[0] == (0.0, 0.0, 1.0) and len(set(WINDOWS)) == len(WINDOWS) == 1 + 9 + 25
    assert all(x >= 0 and y >= 0 and x + s <= 1 + 1e-9 and y + s <= 1 + 1e-9 for x, y, s in WINDOWS)


def test_frames_are_taken_at_the_rate_by_their_times(tmp_path):
    path = moving_bar(tmp_path / "a.mp4", frames=40, gap=3)  # every second frame lasts three times as long
    samples = list(sampled_frames(open_reader(path), 5.0))
    times = [time for shown, _ in samples for time in shown]
    assert times == pytest.approx(np.arange(len(times)) / 5) and len(times) == pytest.approx(40 * 2 / 25 * 5, abs=1)
    begins = np.cumsum([0, *[1, 3] * 19, 1]) / 25
    frames = frames_of(path)
    for shown, frame in samples:
        for time in shown:  # the newest frame that has come by then
            assert (frame == frames[np.searchsorted(begins, time + 1e-6) - 1]).all()


def test_a_frame_is_held_until_the_next_one_comes_but_not_for_ever(tmp_path):
    clip = ramp(3, 32, 32)
    at_times(tmp_path / "a.mp4", clip, [0, 1.0, 200.0])
    found = fingerprint(open_reader(tmp_path / "a.mp4"))
    assert found.times[:6] == pytest.approx(np.arange(6) / 5)
    assert (found.bits[:5] == found.bits[0]).all() and (found.bits[5] != found.bits[0]).any()
    assert len(found.times) < 5 * 2 * HELD + 10 and found.times.max() >= 200  # a broken time fills no memory


def test_another_encoding_hardly_changes_the_bits_and_another_scene_does(tmp_path):
    a, b = (render_scene(0, n, frames=8, resolution=64) for n in (1, 2))
    write_mp4(tmp_path / "a.mp4", a, crf=14)
    write_mp4(tmp_path / "copy.mp4", a, crf=30)
    write_mp4(tmp_path / "b.mp4", b, crf=14)
    first, copy, other = (fingerprint(open_reader(tmp_path / f"{n}.mp4"), mirror=True) for n in ("a", "copy", "b"))

    def distance(x, y):
        return np.unpackbits(x.bits[:, 0] ^ y.bits[:, 0], axis=1).mean()

    assert distance(first, copy) < 0.06 and 0.2 < distance(first, other) < 0.8
    assert np.array_equal(first.times, copy.times) and first.mirrored.shape == first.bits.shape


def test_mirrored_hashes_are_those_of_mirrored_frames(tmp_path):
    clip = render_scene(0, 3, frames=6, resolution=64)
    write_mp4(tmp_path / "a.mp4", clip, crf=4)
    write_mp4(tmp_path / "m.mp4", np.ascontiguousarray(clip[:, :, ::-1]), crf=4)
    a, m = (fingerprint(open_reader(tmp_path / f"{n}.mp4"), mirror=True) for n in "am")
    for flipped, plain in ((a.mirrored, m.bits), (m.mirrored, a.bits)):
        assert np.unpackbits(flipped[:, 0] ^ plain[:, 0]).mean() < 0.03
        whole = [{w.tobytes() for w in frame} for frame in (flipped[0], plain[0])]
        assert len(whole[0] & whole[1]) > 10  # windows of the other side
        assert (
            np.unpackbits(flipped[:, 0] ^ a.bits[:, 0] if plain is m.bits else m.bits[:, 0] ^ flipped[:, 0]).mean()
            > 0.1
        )


def test_frames_without_a_picture_have_no_hash_and_arrays_have_times(tmp_path):
    clip = ramp(16, 32, 32)
    clip[8:] = 0
    write_mp4(tmp_path / "a.mp4", clip, fps=8)
    found = fingerprint(open_reader(tmp_path / "a.mp4"), rate=5.0)
    assert len(found.bits) == len(found.times) and max(found.times) <= 1.01 and not len(found.mirrored)
    write_npy(tmp_path / "a.npy", clip[None])
    assert len(fingerprint(open_reader(tmp_path / "a.npy", "array", files=("0",))).times) == len(found.times)
