"""What a file is, by its first bytes and by its name where these say nothing."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from vidiff.data.index import build_index
from vidiff.video.filetype import natural, sniff


def packets(size: int, first: int = 0) -> bytes:
    """Eight packets of a transport stream, after some bytes of another one."""
    lead = bytes(range(64, 64 + first)) if first else b""
    one = b"\x47\x40\0\x10" + bytes([200] * 184)
    before = b"\0\0\0\0" if size == 192 else b""
    return lead + (before + one + bytes(size - len(before) - len(one))) * 8


@pytest.mark.parametrize(
    "head",
    [
        packets(188), packets(192), packets(204), packets(188, 50),
        b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", b"nut/multimedia container\0", b"DKIF\0\0", b"FLV\x01",
        b"\0\0\0\1\x67\x42", b"\0\0\1\x67\x42", b"\0\0\0\1\x27\x64", b"\0\0\0\1\x09\x10", b"\0\0\0\1\x40\x01",
        b"\x1f\x07\0\x3f", b"\x1f\x07\0\xbf", b"\0\0\x01\xba", b"\0\0\0\x18styp", b"OggS", b"0&\xb2u",
    ],
)  # fmt: skip
def test_containers_are_known_without_a_name(tmp_path, head):
    (tmp_path / "x").write_bytes(head + bytes(700))
    assert sniff(tmp_path / "x") == "video"


def test_a_name_is_believed_where_the_content_says_nothing(tmp_path):
    for name in ("x.mts", "x.dv", "x.mxf", "x.h264"):
        (tmp_path / name).write_bytes(b"\x80" * 800)
        assert sniff(tmp_path / name) == "video"
    for name, head in (("x.ico", b"\0\0\1\0\1"), ("x.bin", b"\x80" * 800), ("x.wav", b"RIFF1234WAVE")):
        (tmp_path / name).write_bytes(head + b"\x80" * 40)
        assert sniff(tmp_path / name) == "other"


@pytest.mark.parametrize(("suffix", "codec"), [("mxf", "mpeg2video"), ("ogv", "libtheora"), ("h264", "libx264")])
def test_films_of_cameras_are_read(tmp_path, suffix, codec):
    try:
        with av.open(str(tmp_path / f"a.{suffix}"), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(25))
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(8):
                container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(stream.encode())
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"this FFmpeg writes no {suffix}: {error}")
    index = build_index(tmp_path, "pyav")
    assert [e.num_frames for e in index.entries] == [8] and not index.bad and not index.passed


def test_natural_order():
    names = ["10²", "①", "a10", "a9", "٣", "a³"]
    assert sorted(names, key=natural).index("a9") < sorted(names, key=natural).index("a10")
