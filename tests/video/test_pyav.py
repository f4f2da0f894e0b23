"""PyAV on what cameras, recorders, cutters and broadcasters write: the frames and shapes that a player shows."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from vidiff.video.container import local, video_stream
from vidiff.video.display import pixel_aspect
from vidiff.video.open import read_square
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import ReadError

ONE = 1 << 16


def numbers(make, reader, wanted, *size):
    return [make.number_of(frame) for frame in reader.read(wanted, *size)]


def right(make, path, first, count, step=3):
    """Every clip of 1, 4 and all frames holds the numbers that it should."""
    reader = PyAVReader(path)
    assert reader.info.num_frames == count
    for length in (1, 4, count):
        for start in range(0, count - length + 1, step):
            wanted = range(start, start + length)
            assert numbers(make, reader, wanted) == [first + i for i in wanted], (path.name, start, length)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b.ts", "libx264", {"bf": "2"}),
        ("b.ts", "mpeg2video", {"bf": "2"}),
        ("open.mp4", "mpeg2video", {"bf": "2"}),
        ("open.ts", "libx264", {"bf": "2", "x264-params": "open-gop=1"}),
        ("refresh.ts", "libx264", {"x264-params": "intra-refresh=1"}),
        ("a.wmv", "wmv2", {}),
        ("h264.asf", "libx264", {"bf": "2"}),
        ("a.gif", "gif", {}),
        ("live.webm", "libvpx", {"cpu-used": "8", "deadline": "realtime"}),
        ("raw.h264", "libx264", {"bf": "2"}),
        ("a.ivf", "libvpx", {"cpu-used": "8", "deadline": "realtime"}),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_every_clip_holds_the_frames_that_its_index_names(make, tmp_path, name, codec, options):
    container = {"live": "1"} if name.startswith("live") else {}
    path = make.video(tmp_path / name, 30, codec, gop=12, options=options, container_options=container)
    right(make, path, 0, 30)


def test_av1(make, tmp_path):
    path = make.video(tmp_path / "a.mp4", 12, "libsvtav1", options={"preset": "12", "crf": "20"})
    right(make, path, 0, 12, step=4)


def copied(source, target, keep=lambda packet: True, shift=0):
    """A copy without decoding, as cutters make it."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream)
        for packet in reader.demux(stream):
            if packet.dts is not None and keep(packet):
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = out
                writer.mux(packet)
    return target


def test_a_cut_with_an_edit_list_has_the_frames_that_are_shown(make, tmp_path):
    whole = make.video(tmp_path / "whole.mp4", 40, gop=40)
    with av.open(str(whole)) as container:
        shift = -round(1.5 / container.streams.video[0].time_base)
    cut = copied(whole, tmp_path / "cut.mp4", shift=shift)
    with av.open(str(cut)) as container:
        assert container.streams.video[0].frames == 40  # 15 of them hidden
    right(make, cut, 15, 25)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_recording_that_starts_between_two_keyframes(make, tmp_path, codec):
    whole = make.video(tmp_path / "whole.ts", 36, codec, gop=12, options={"bf": "2"})
    with av.open(str(whole)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.dts is not None]
    late = copied(whole, tmp_path / "late.ts", keep=lambda packet: packet.dts >= packets[7].dts)
    with av.open(str(late)) as container:
        shown = [make.number_of(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert 7 < shown[0] and shown == list(range(shown[0], 36))
    right(make, late, shown[0], len(shown))


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
        ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
        ((0, -1, 1, 0), lambda x: np.rot90(x)),
        ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda x: np.rot90(x, 2).swapaxes(0, 1)),
    ],
)
def test_all_eight_orientations(make, tmp_path, matrix, upright):
    a, b, c, d = (value * ONE for value in matrix)
    flat = make.video(tmp_path / "flat.mp4", frames=3)
    turned = tmp_path / "turned.mp4"
    with av.open(str(flat)) as reader, av.open(str(turned), "w") as writer:
        out = writer.add_stream_from_template(reader.streams.video[0])
        out.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = out
                writer.mux(packet)
    for size in ((None, None), (24, 32)):
        stored = PyAVReader(flat).read([2], *size)[0]
        wanted = upright(stored)
        reader = PyAVReader(turned)
        assert (reader.info.height, reader.info.width) == upright(np.empty((48, 64))).shape
        got = reader.read([2], *(wanted.shape[:2] if size[0] else size))[0]
        assert np.array_equal(got, wanted)


@pytest.mark.parametrize(
    ("aspect", "shown"), [((2, 1), (128, 48)), ((8, 9), (57, 48)), ((1, 1), (64, 48)), ((0, 1), (64, 48))]
)
def test_pixels_that_are_not_square(make, tmp_path, aspect, shown):
    path = make.video(tmp_path / "dv.mp4", 3, aspect=Fraction(*aspect))
    reader = PyAVReader(path)
    assert (reader.info.width, reader.info.height) == shown and reader.read([1]).shape == (1, shown[1], shown[0], 3)
    crop = read_square(reader, [1], 24)  # the middle of what is shown: for 128 x 48 the bits 2 to 5
    assert crop.shape == (1, 24, 24, 3)
    if shown == (128, 48):
        whole = reader.read([1], 24, 64)
        assert np.array_equal(crop, whole[:, :, 20:44])


def test_an_absurd_aspect_is_not_believed(make, tmp_path):
    path = make.video(tmp_path / "a.mp4", 3, aspect=Fraction(400, 1))
    assert PyAVReader(path).info.width == 64
    with av.open(str(path)) as container:
        assert pixel_aspect(container.streams.video[0]) == 1


def test_a_cover_picture_is_no_film(make, tmp_path):
    for name, sound in (("film.mp4", False), ("song.m4a", True)):
        with av.open(str(tmp_path / name), "w", format="mp4") as writer:
            cover = writer.add_stream("mjpeg")
            cover.width, cover.height, cover.pix_fmt = 200, 200, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            other = writer.add_stream("aac" if sound else "libx264", rate=16000 if sound else 10)
            if not sound:
                other.width, other.height, other.pix_fmt = 64, 48, "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.full((200, 200, 3), 90, np.uint8), format="rgb24")
            writer.mux([*cover.encode(picture), *cover.encode()])
            if sound:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
                frame.sample_rate = 16000
                writer.mux([*other.encode(frame), *other.encode()])
            else:
                for i in range(7):
                    writer.mux(other.encode(av.VideoFrame.from_ndarray(make.numbered(i), format="rgb24")))
                writer.mux(other.encode())
    with av.open(str(tmp_path / "film.mp4")) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert len(covers) == 1 and video_stream(container, "film.mp4") not in covers
    right(make, tmp_path / "film.mp4", 0, 7)
    with pytest.raises(ReadError, match=r"song.m4a: it holds no video stream \(only a cover picture\)"):
        PyAVReader(tmp_path / "song.m4a").measure()


def test_an_unknown_codec_is_named(make, tmp_path):
    path = make.video(tmp_path / "camera.mov", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"brxq"))
    with pytest.raises(ReadError, match=r"camera.mov: its codec \(brxq\) is unknown"):
        PyAVReader(path).measure()


@pytest.mark.parametrize("name", [b"12:30:05.mp4", b"http:x.mp4", b"gr\xfcn.mp4", b"a%03d|b.mp4", b"-a.mp4"])
def test_any_file_name(make, tmp_path, monkeypatch, name):
    make.video(tmp_path / "a.mp4", 3).rename(tmp_path / os.fsdecode(name))
    monkeypatch.chdir(tmp_path)
    assert numbers(make, PyAVReader(os.fsdecode(name)), [2, 0]) == [2, 0]
    assert os.path.isabs(local(os.fsdecode(name)))


@pytest.mark.parametrize("sizes", [((64, 48), (96, 80)), ((96, 48), (64, 64))])
def test_a_recording_that_changes_its_size_is_scaled_to_the_first(make, tmp_path, sizes):
    parts = [make.video(tmp_path / f"{n}.h264", 6, size=size) for n, size in enumerate(sizes)]
    path = tmp_path / "call.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = PyAVReader(path)
    assert (reader.info.num_frames, reader.info.width, reader.info.height) == (12, *sizes[0])
    assert numbers(make, reader, range(12)) == [*range(6), *range(6)]
    assert numbers(make, reader, [7, 1], 32, 32) == [1, 1]
