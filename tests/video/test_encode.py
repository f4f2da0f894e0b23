"""The one encoder: its colours, odd sizes, times, and nothing left where it fails."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from films import psnr, ramp, read

from vidiff.errors import RunError, UsageError
from vidiff.video.encode import BT601, BT709, LIMITED, Encoder, VideoFormat, frame_rate, new_container


def test_rates_are_those_of_broadcasting():
    assert [frame_rate(fps) for fps in (8, 30000 / 1001, 12.5)] == [8, Fraction(30000, 1001), Fraction(25, 2)]
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="positive"):
            frame_rate(fps)


@pytest.mark.parametrize(("height", "width", "pixels"), [(48, 64, "yuv420p"), (47, 64, "yuv444p"), (48, 63, "yuv444p")])
@pytest.mark.parametrize("matrix", [BT601, BT709])
def test_frames_keep_size_colours_and_times(tmp_path, height, width, pixels, matrix):
    frames, path = ramp(6, height, width), tmp_path / "a.mkv"
    form = VideoFormat(Fraction(10), Fraction(1, 1000), Fraction(1), matrix=matrix)
    with new_container(path) as container:
        encoder = Encoder(container, height, width, form)
        for i, frame in enumerate(frames):
            container.mux(encoder.encode(frame, 50 * i * i))
        container.mux(encoder.flush())
    back, facts = read(path)
    assert back.shape == frames.shape and psnr(back, frames) > 33 and facts["pix"] == pixels
    with av.open(str(path)) as container:
        shown = list(container.decode(video=0))
    assert [float(f.pts * f.time_base) for f in shown] == pytest.approx([0.05 * i * i for i in range(6)], abs=1e-6)
    assert {(int(f.colorspace), int(f.color_range)) for f in shown} == {(matrix, LIMITED)}


def test_what_fails_leaves_nothing(tmp_path):
    form = VideoFormat(Fraction(10), Fraction(1, 10))
    with pytest.raises(RunError, match=r"a\.mp4: could not be written by PyAV"), new_container(tmp_path / "a.mp4") as c:
        Encoder(c, 32, 32, form, preset="no-such-preset").encode(ramp(1, 32, 32)[0], 0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"), new_container(tmp_path / "file" / "a.mp4"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
