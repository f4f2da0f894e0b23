"""360-degree metadata: byte by byte as the specification has it, and as FFmpeg reads it; the frames stay."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from films import film, frames_of

from vidiff.errors import RunError
from vidiff.video.remux import remux
from vidiff.video.spherical import Spherical, read_spherical, write_spherical
from vidiff.video.write import write_mp4

AROUND = Spherical("equirectangular")
BOTH = Spherical("equirectangular", "top-bottom")
EYES = Spherical("flat", "left-right")
CLIP = np.random.default_rng(0).integers(0, 256, (6, 32, 64, 3), dtype=np.uint8)


def tree(data: bytes, begin: int = 0, end: int | None = None) -> list[tuple[str, bytes | list]]:
    """A second parser, of the specification: (type, content) of each box, those that hold boxes opened."""
    out, end = [], len(data) if end is None else end
    while begin < end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        size, name = size or end - begin, kind.decode("latin1")
        skip = {"stsd": 8, "avc1": 78, "meta": 4}.get(name, 0)
        opened = name in ("moov", "trak", "mdia", "minf", "stbl", "stsd", "avc1", "sv3d", "proj")
        content = data[begin + 8 : begin + size]
        out.append((name, tree(content, skip) if opened else content))
        begin += size
    assert begin == end
    return out


def at(boxes: list, *way: str) -> list:
    """What the boxes at the end of a way hold."""
    found = [content for name, content in boxes if name == way[0]]
    return [x for content in found for x in at(content, *way[1:])] if way[1:] else found


def side_data(path: Path) -> dict[str, bytes]:
    """What FFmpeg gives with the first frame."""
    with av.open(str(path)) as container:
        return {x.type.name: bytes(x) for x in next(container.decode(video=0)).side_data}


@pytest.mark.parametrize("what", [AROUND, BOTH, EYES], ids=str)
def test_what_is_written_is_what_the_specification_has(what, tmp_path):
    path = tmp_path / "a.mp4"
    write_mp4(path, CLIP, spherical=what)
    boxes = tree(path.read_bytes())
    entry = ("moov", "trak", "mdia", "minf", "stbl", "stsd", "avc1")
    assert at(boxes, *entry, "st3d") == [bytes(4) + bytes([{"mono": 0, "top-bottom": 1, "left-right": 2}[what.stereo]])]
    around = what.projection == "equirectangular"
    assert at(boxes, *entry, "sv3d", "proj", "equi") == [bytes(20)] * around  # version and flags, four bounds of 0
    assert at(boxes, *entry, "sv3d", "proj", "prhd") == [bytes(16)] * around  # version and flags, no turn
    sources = at(boxes, *entry, "sv3d", "svhd")
    assert [s.endswith(b"\0") and s[4:].startswith(b"vidiff") for s in sources] == [True] * around
    texts = at(boxes, "moov", "trak", "uuid")
    assert [t[:16].hex() for t in texts] == ["ffcc8263f8554a938814587a02521fdd"] * around
    for text in texts:
        assert b"<GSpherical:Spherical>true<" in text and f"<GSpherical:StereoMode>{what.stereo}<".encode() in text
    assert read_spherical(path) == what


def test_ffmpeg_reads_it_and_the_frames_stay(tmp_path):
    path = tmp_path / "a.mp4"
    write_mp4(path, CLIP)
    before = frames_of(path)
    assert read_spherical(path) == Spherical() and not {"SPHERICAL", "STEREO3D"} & set(side_data(path))
    for what in (AROUND, BOTH, EYES, BOTH, AROUND):  # again and again: nothing is there twice
        write_spherical(path, what)
        found = side_data(path)
        assert ("SPHERICAL" in found) == (what.projection == "equirectangular") and "STEREO3D" in found
        mode = struct.unpack_from("<i", found["STEREO3D"])[0]  # AVStereo3D.type: 2D, side by side, top bottom
        assert mode == {"mono": 0, "left-right": 1, "top-bottom": 2}[what.stereo]
        assert np.array_equal(frames_of(path), before) and read_spherical(path) == what
    size = path.stat().st_size
    write_spherical(path, AROUND)
    assert path.stat().st_size == size
    write_spherical(path, Spherical())
    assert read_spherical(path) == Spherical() and not {"SPHERICAL", "STEREO3D"} & set(side_data(path))


def test_a_remux_keeps_what_the_source_says(tmp_path):
    """In mp4 and mov, with sound; not in another shape; with a warning where the file cannot say it."""
    source = film(tmp_path / "in.mp4", size=(64, 32), sounds=("aac",))
    write_spherical(source, AROUND)
    said: list[str] = []
    for name, kept in (("a.mp4", AROUND), ("b.mov", AROUND), ("c.mkv", Spherical())):
        assert remux(source, tmp_path / name, lambda frames: frames, said.append) == 10
        assert read_spherical(tmp_path / name) == kept and frames_of(tmp_path / name).shape == (10, 32, 64, 3)
    assert len(said) == 1 and "cannot be said in .mkv" in said[0]
    wide = lambda frames: (np.concatenate([f, f], 1) for f in frames)  # noqa: E731
    remux(source, tmp_path / "d.mp4", wide, said.append)
    assert read_spherical(tmp_path / "d.mp4") == Spherical() and len(said) == 1
    remux(source, tmp_path / "e.mp4", lambda frames: frames, said.append, "", EYES)
    assert read_spherical(tmp_path / "e.mp4") == EYES


def test_files_that_hold_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    for content in (b"", b"no video" * 10, struct.pack(">I4s", 2**31, b"moov"), struct.pack(">I4sI", 12, b"moov", 99)):
        path.write_bytes(content)
        assert read_spherical(path) == Spherical()
        with pytest.raises(RunError, match="360-degree metadata cannot be written"):
            write_spherical(path, AROUND)
        assert path.read_bytes() == content
    assert read_spherical(tmp_path / "nowhere.mp4") == Spherical()
