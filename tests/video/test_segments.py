"""Segments are the whole film, at its shots or of one length, by the clock that a player would go by."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from films import film, moving_bar

from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.video.segments import even_segments, read_clock, shot_segments


def frames_file(path, frames, rate=12, pix_fmt="yuv444p"):
    """Frames as a film that keeps them."""
    with av.open(str(path), "w") as writer:
        out = writer.add_stream("libx264", rate=rate)
        out.height, out.width, out.pix_fmt = *frames[0].shape[:2], pix_fmt
        for frame in frames:
            writer.mux(out.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        writer.mux(out.encode())
    return path


def scenes(*lengths: int) -> list[np.ndarray]:
    """Shots of so many frames, each of another embedded scene."""
    return [f for scene, n in enumerate(lengths) for f in render_scene(0, scene, frames=n)]


def check_whole(segments, clock):
    assert segments[0].start == 0 and segments[-1].end == clock.num_frames
    assert all(a.end == b.start and a.end_s == b.start_s for a, b in zip(segments, segments[1:]))
    assert segments[-1].end_s == pytest.approx(float(clock.seconds(clock.num_frames)))


def test_the_shots_of_joined_scenes(tmp_path):
    source = frames_file(tmp_path / "in.mp4", scenes(20, 14, 31, 12))
    _, found = shot_segments(source, "color", 8, print)
    assert [s.start for s in found] == [0, 20, 34, 65]
    check_whole(found, read_clock(source, print))
    assert [s.start for s in shot_segments(source, "color", 25, print)[1]] == [0, 34, 65]


def test_parts_of_one_length_go_by_the_clock(tmp_path):
    source = moving_bar(tmp_path / "in.mp4", frames=20, rate=Fraction(25), gap=3)  # at 0, 1, 4, 5, 8 ... 37 ticks
    clock = read_clock(source, print)
    assert clock.num_frames == 20 and [round(25 * clock.seconds(i)) for i in (0, 1, 2, 19)] == [0, 1, 4, 37]
    clock, found = even_segments(source, 0.4, None, print)  # 10 ticks
    assert [s.start for s in found] == [0, 6, 10, 16] and found[1].start_s == pytest.approx(12 / 25)
    check_whole(found, clock)
    assert [s.start for s in even_segments(source, None, 7, print)[1]] == [0, 7, 14]
    assert [s.start for s in even_segments(source, 100.0, None, print)[1]] == [0]
    assert [s.start for s in even_segments(source, 1e-3, None, print)[1]] == list(range(20))


def test_a_last_frame_that_stands_still_belongs_to_the_film(tmp_path):
    source = film(tmp_path / "in.mp4", lasts=(10,) * 9 + (200,))
    assert float(read_clock(source, print).seconds(10)) == pytest.approx(2.9, abs=0.01)


def test_what_is_refused(tmp_path):
    source = moving_bar(tmp_path / "in.mp4", frames=4)
    for every, frames, said in ((0.0, None, "above 0"), (None, 0, "at least 1"), (1.0, 1, "give one of them")):
        with pytest.raises(UsageError, match=said):
            even_segments(source, every, frames, print)
    (tmp_path / "cut.mp4").write_bytes(source.read_bytes()[:300])
    with pytest.raises(RunError, match="cut.mp4"):
        read_clock(tmp_path / "cut.mp4", print)
