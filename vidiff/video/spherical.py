"""What a file says of 360-degree and stereoscopic video: the boxes that players look for in mp4 and mov. No torch here.

Google's Spherical Video RFC (github.com/google/spatial-media, docs/spherical-video-rfc.md and -v2-rfc.md):

    version 1   trak / uuid ffcc8263-f855-4a93-8814-587a02521fdd    XML: projection, stereo mode
    version 2   sample entry / st3d                                 stereo mode: 0 mono, 1 top-bottom, 2 left-right
                sample entry / sv3d / svhd, proj / prhd, equi       source; yaw, pitch, roll (16.16); bounds (0.32)

Both are written, for some players know only one. FFmpeg's mp4 muxer writes neither for what PyAV encodes.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from vidiff import __version__
from vidiff.errors import RunError

Projection = Literal["flat", "equirectangular"]
Frames = Literal["flat", "equirectangular", "stereo"]  # of clips: the last are two flat ones, side by side
Stereo = Literal["mono", "top-bottom", "left-right"]
STEREO: tuple[Stereo, ...] = ("mono", "top-bottom", "left-right")  # by their numbers in st3d
UUID = uuid.UUID("ffcc8263-f855-4a93-8814-587a02521fdd").bytes
SUFFIXES = (".mp4", ".mov")
LARGEST_HEADER = 2**28  # bytes of a moov that is taken into memory
INNER = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # boxes that hold nothing but boxes
ENTRY = 8 + 78  # bytes of a VisualSampleEntry in front of its boxes
XML = (
    '<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true</GSpherical:Spherical>'
    "<GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>{source}"
    "</GSpherical:StitchingSoftware><GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>"
    "<GSpherical:StereoMode>{stereo}</GSpherical:StereoMode></rdf:SphericalVideo>"
)


@dataclass(frozen=True)
class Spherical:
    """How a video is to be shown.

    Args:
        projection: `equirectangular`: all around; `flat`: on a plane.
        stereo: where the eyes' pictures are.
    """

    projection: Projection = "flat"
    stereo: Stereo = "mono"


class Box(NamedTuple):
    """A box in bytes: its type, where it begins, where its content does, where it ends."""

    kind: bytes
    begin: int
    body: int
    end: int


def read_spherical(path: Path | str) -> Spherical:
    """What a file says; one that says nothing, or cannot be read, is flat and mono."""
    try:
        with open(path, "rb") as file:
            header = _header(file)
        return _spherical(header[1]) if header else Spherical()
    except (OSError, ValueError, struct.error):
        return Spherical()


def write_spherical(path: Path, what: Spherical) -> None:
    """Give an mp4 or mov these boxes, in place of any that it has; its frames are not touched.

    Where the header stands in front of the frames, their places in the file, `stco` and `co64`, are moved on.

    Raises:
        RunError: the file has no video track that they could stand in.
    """
    with open(path, "r+b") as file:
        try:
            found = _header(file)
            if found is None:
                raise ValueError("no moov box")
            place, header = found
            new, tracks = _with_boxes(header, what)
            if not tracks:
                raise ValueError("no video track")
        except (ValueError, struct.error) as error:
            raise RunError(f"{path}: 360-degree metadata cannot be written ({error})") from error
        file.seek(place + len(header))
        rest = file.read()
        if rest:
            new = _moved(new, len(new) - len(header))
        file.seek(place)
        file.write(new + rest)


def boxes(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that follow one another in bytes (ISO/IEC 14496-12, section 4.2).

    Raises:
        ValueError: a box is longer than what holds it.
    """
    end = len(data) if end is None else end
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        body = begin + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if size == 0 else begin + size
        if stop > end or stop < body:
            raise ValueError(f"a damaged box {kind!r}")
        yield Box(kind, begin, body, stop)
        begin = stop


def _header(file: BinaryIO) -> tuple[int, bytes] | None:
    """Where the moov box of an open file begins, and its bytes."""
    file.seek(0, 2)
    end, begin = file.tell(), 0
    while begin + 8 <= end:
        file.seek(begin)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        size = size or end - begin
        if kind == b"moov" and size <= LARGEST_HEADER:
            file.seek(begin)
            return begin, file.read(size)
        if size < 8:
            return None
        begin += size
    return None


def _find(data: bytes, box: Box, *way: bytes) -> Iterator[Box]:
    """The boxes at the end of a way down from one."""
    for inner in boxes(data, box.body, box.end):
        if inner.kind == way[0]:
            yield from _find(data, inner, *way[1:]) if way[1:] else (inner,)


def _entries(data: bytes, track: Box) -> Iterator[Box]:
    """The sample entries of a video track; none of another track."""
    handler = next(_find(data, track, b"mdia", b"hdlr"), None)
    if handler and data[handler.body + 8 : handler.body + 12] == b"vide":
        for table in _find(data, track, b"mdia", b"minf", b"stbl", b"stsd"):
            yield from boxes(data, table.body + 8, table.end)


def _spherical(moov: bytes) -> Spherical:
    (top,) = boxes(moov)
    for track in _find(moov, top, b"trak"):
        projection, stereo = "flat", "mono"
        for inner in boxes(moov, track.body, track.end):
            text = moov[inner.body + 16 : inner.end]
            if inner.kind == b"uuid" and moov[inner.body :][:16] == UUID and b"equirectangular" in text:
                projection = "equirectangular"
                match = re.search(rb"StereoMode>\s*([\w-]+)", text)
                stereo = next((s for s in STEREO if match and s == match[1].decode()), "mono")
        for entry in _entries(moov, track):
            for box in boxes(moov, entry.begin + ENTRY, entry.end):
                if box.kind == b"st3d" and moov[box.body + 4] < len(STEREO):
                    stereo = STEREO[moov[box.body + 4]]
                if box.kind == b"sv3d" and any(_find(moov, box, b"proj", b"equi")):
                    projection = "equirectangular"
        if (projection, stereo) != ("flat", "mono"):
            return Spherical(projection, stereo)
    return Spherical()


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _version_2(what: Spherical) -> bytes:
    full, made = bytes(4), b""  # version 0, no flags
    if what.stereo != "mono" or what.projection != "flat":
        made += _box(b"st3d", full, bytes([STEREO.index(what.stereo)]))
    if what.projection == "equirectangular":
        source = _box(b"svhd", full, f"vidiff {__version__}".encode() + b"\0")
        shape = _box(b"proj", _box(b"prhd", full, bytes(12)), _box(b"equi", full, bytes(16)))
        made += _box(b"sv3d", source, shape)
    return made


def _with_boxes(moov: bytes, what: Spherical) -> tuple[bytes, int]:
    """A moov with the boxes of `what` in its video tracks, and the number of those."""
    tracks = 0

    def rebuilt(box: Box, video: bool) -> bytes:
        nonlocal tracks
        inner = [b for b in boxes(moov, box.body, box.end)]
        if box.kind == b"trak" and any(_entries(moov, box)):
            video, tracks = True, tracks + 1
            inner = [b for b in inner if not (b.kind == b"uuid" and moov[b.body :][:16] == UUID)]
        parts = [made(b, video) for b in inner]
        if box.kind == b"trak" and video and what.projection == "equirectangular":
            text = XML.format(source=f"vidiff {__version__}", stereo=what.stereo)
            parts.append(_box(b"uuid", UUID, text.encode()))
        return _box(box.kind, *parts)

    def entry(box: Box) -> bytes:
        kept = [b for b in boxes(moov, box.begin + ENTRY, box.end) if b.kind not in (b"st3d", b"sv3d")]
        parts = [moov[b.begin : b.end] for b in kept]
        return _box(box.kind, moov[box.body : box.begin + ENTRY], *parts, _version_2(what))

    def made(box: Box, video: bool) -> bytes:
        if box.kind in INNER:
            return rebuilt(box, video)
        if box.kind == b"stsd" and video:
            return _box(b"stsd", moov[box.body : box.body + 8], *map(entry, boxes(moov, box.body + 8, box.end)))
        return moov[box.begin : box.end]

    (top,) = boxes(moov)
    return rebuilt(top, False), tracks


def _moved(moov: bytes, by: int) -> bytes:
    """A moov whose chunks lie `by` bytes further on."""
    out = bytearray(moov)
    (top,) = boxes(moov)
    for kind, letter in ((b"stco", "I"), (b"co64", "Q")):
        for box in _find(moov, top, b"trak", b"mdia", b"minf", b"stbl", kind):
            (count,) = struct.unpack_from(">I", moov, box.body + 4)
            places = struct.unpack_from(f">{count}{letter}", moov, box.body + 8)
            struct.pack_into(f">{count}{letter}", out, box.body + 8, *(p + by for p in places))
    return bytes(out)
