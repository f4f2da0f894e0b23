"""Films that are not 8 bits of color at even sizes and times, and one of two hours: read, and kept, as they are."""

from __future__ import annotations

import resource
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from films import facts, film
from makers import number_of, numbered

from vidiff.data.index import build_index
from vidiff.video import pyav
from vidiff.video.open import read_square
from vidiff.video.pyav import PyAVReader
from vidiff.video.remux import remux

ODD = {
    "odd sides.mkv": dict(size=(37, 23), pix_fmt="yuv444p"),
    "odd and halved.mkv": dict(size=(37, 23), codec="ffv1"),
    "one pixel high.mkv": dict(size=(40, 1), codec="ffv1", pix_fmt="yuv444p"),
    "grey.mkv": dict(codec="ffv1", pix_fmt="gray"),
    "grey in 16 bits.mkv": dict(codec="ffv1", pix_fmt="gray16le"),
    "alpha.mov": dict(codec="qtrle", pix_fmt="argb"),
    "alpha, planar.mkv": dict(codec="ffv1", pix_fmt="yuva420p"),
    "10 bits.mp4": dict(pix_fmt="yuv420p10le"),
    "10 bits, 4:2:2.mkv": dict(codec="ffv1", pix_fmt="yuv422p10le"),
    "12 bits, 4:4:4.mkv": dict(codec="ffv1", pix_fmt="yuv444p12le"),
    "uneven times.mkv": dict(lasts=(10, 40, 5, 70, 10)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_film_is_read_and_kept(tmp_path, name):
    """Frames are dark up to the fifth and bright from there on; size, number and times go through a translation."""
    path = film(tmp_path / name, **ODD[name])
    size = ODD[name].get("size", (32, 24))
    index = build_index(tmp_path)
    (entry,) = index.entries
    assert (entry.num_frames, (entry.width, entry.height)) == (10, size) and not index.bad
    reader = PyAVReader(path)
    frames = reader.read(range(10))
    assert frames.dtype == np.uint8 and frames.shape == (10, size[1], size[0], 3)
    means = frames.mean((1, 2, 3))
    assert means[:5] == pytest.approx([20] * 5, abs=4) and means[5:] == pytest.approx([235] * 5, abs=4)
    assert read_square(reader, [0, 9], 16).mean((1, 2, 3)) == pytest.approx([20, 235], abs=4)
    assert remux(path, tmp_path / "out.mkv", iter, print) == 10
    before, after = facts(path), facts(tmp_path / "out.mkv")
    assert after["size"] == before["size"] and after["times"] == pytest.approx(before["times"], abs=2e-3)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """7,200 seconds at 2 frames a second, each with its number, a keyframe every 25 seconds."""
    path = tmp_path_factory.mktemp("long") / "two hours.mp4"
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=Fraction(2), options={"preset": "ultrafast", "crf": "35"})
        video.width, video.height, video.pix_fmt = 32, 16, "yuv420p"
        video.codec_context.gop_size = 50
        pictures = [av.VideoFrame.from_ndarray(numbered(i, 32, 16), format="rgb24") for i in range(256)]
        for i in range(14400):
            picture = pictures[i % 256]
            picture.pts, picture.time_base = i, Fraction(1, 2)
            writer.mux(video.encode(picture))
        writer.mux(video.encode())
    return path


def test_two_hours_are_read_where_they_are_asked_for(long_film, monkeypatch):
    """No clip costs more than the frames since its keyframe, wherever it lies, and memory holds the clip alone."""
    decoded = []
    frames = pyav._frames

    def counted(container, stream):
        for frame in frames(container, stream):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(pyav, "_frames", counted)
    reader = PyAVReader(long_film)
    info = reader.measure()
    assert (info.num_frames, info.fps) == (14400, 2.0) and len(decoded) <= 60
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    for start in (0, 7205, 14392):
        decoded.clear()
        wanted = range(start, start + 8)
        assert [number_of(f) for f in reader.read(wanted)] == [i % 256 for i in wanted]
        assert len(decoded) <= 50 + 8
    decoded.clear()
    wanted = [100, 1000, 1100]  # far from each other, as of a large stride
    assert [number_of(f) for f in reader.read(wanted)] == [i % 256 for i in wanted] and len(decoded) <= 1052
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 30e6
