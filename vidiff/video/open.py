"""The reader for a source: which back end opens it, and its frames at the training resolution.

Readers hold a path and plain numbers, never an open file: everything is opened and closed inside the call, because a
decoder opened in a parent process hangs the workers forked from it. No torch in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vidiff.errors import UsageError
from vidiff.video.decord import DecordReader, fault
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import Reader, ReadError
from vidiff.video.stills import AnimationReader, ArrayReader, FramesReader, StripReader

# How a source is brought to the training resolution; part of every protocol record.
RESIZE_RULE = {"video": "swscale bilinear (antialiased) while decoding"}
RESIZE_RULE |= dict.fromkeys(("frames", "strip", "image", "animation", "array"), "Pillow bilinear (antialiased)")
BACKENDS = ("pyav", "auto", "decord")
WIDE = ("equirectangular", "stereo")  # twice as wide as high
FITS = ("crop", "stretch", *WIDE)


def choose_decoder(path: Path | str, kind: str, backend: str = "pyav") -> str:
    """Which decoder reads a source, decided once, when it is indexed: `pyav`, `decord`, or `""` for pictures.

    Args:
        path: file or folder.
        kind: as for `open_reader`.
        backend: `pyav` reads every video exactly, a clip as fast as decord. `auto`: decord where it was proven exact
            for the file (which takes longer than decoding it twice), else PyAV. `decord`: only files for which it was.

    Raises:
        ReadError: the video cannot be read, or (`backend="decord"`) not exactly.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if kind != "video":
        return ""
    if backend == "pyav":
        return "pyav"
    reason = fault(path)
    if reason is None:
        return "decord"
    if backend == "decord":
        raise ReadError(path, f"{reason}; backend pyav reads it")
    return "pyav"


def open_reader(
    path: Path | str,
    kind: str = "video",
    decoder: str = "pyav",
    files: Sequence[str] | None = None,
    white: float | None = None,
) -> Reader:
    """The reader for a source.

    Args:
        path: file or folder.
        kind: `video | strip | frames | image | animation | array`, as the index found it from the content.
        decoder: `pyav`, or `decord` for a video that it was proven on: see `choose_decoder`.
        files: names of the images of a folder of frames, in order; the number of the video in an array, and the
            order of its axes.
        white: the value that stands for white in pictures of more than 8 bits.
    """
    if kind == "frames":
        return FramesReader(path, files, white)
    if kind == "image":  # a video of one frame
        return FramesReader(Path(path).parent, [Path(path).name], white)
    if kind == "strip":
        return StripReader(path, white)
    if kind == "animation":
        return AnimationReader(path, white)
    if kind == "array":
        return ArrayReader(path, int(files[0]), *files[1:])
    if decoder not in ("pyav", "decord"):
        raise UsageError(f"a video is decoded by pyav or decord, got {decoder!r}")
    return PyAVReader(path) if decoder == "pyav" else DecordReader(path)


def decoding(entries: Iterable) -> str:
    """How videos become frames of the training resolution, for protocol records: rules and decoders."""
    return ", ".join(sorted({RESIZE_RULE[e.kind] + (f" by {e.decoder}" if e.decoder else "") for e in entries}))


def read_square(
    reader: Reader, indices: Sequence[int], resolution: int, fit: str = "crop", size: tuple[int, int] | None = None
) -> np.ndarray:
    """Frames at `resolution`, uint8 (T, resolution, resolution, 3), or twice as wide for those in WIDE.

    Args:
        reader: the video.
        indices: frame numbers.
        resolution: height and width wanted.
        fit: `crop`: the shorter side is resized to `resolution`, then the centre is cut out. `stretch`: both sides
            are resized, the aspect ratio changes. Those in WIDE: as `stretch`, to twice the width.
        size: (width, height) of the source where already known; saves opening the file twice.
    """
    if fit not in FITS:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    if fit != "crop":
        return reader.read(indices, resolution, resolution * (2 if fit in WIDE else 1))
    width, height = size or (reader.info.width, reader.info.height)
    scale = resolution / min(width, height)
    width, height = max(resolution, round(width * scale)), max(resolution, round(height * scale))
    frames = reader.read(indices, height, width)  # (T, height, width, 3)
    top, left = (height - resolution) // 2, (width - resolution) // 2
    return frames[:, top : top + resolution, left : left + resolution]
