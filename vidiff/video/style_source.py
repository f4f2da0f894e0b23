"""The picture or video that a style is taken from. No torch in here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidiff.errors import UsageError
from vidiff.video.filetype import sniff
from vidiff.video.open import open_reader
from vidiff.video.pictures import open_rgb, resized

SMALLEST = 16  # pixels of the shorter side: the deepest layer of VGG sees one place of it
MOST_FRAMES = 8  # of a video, evenly spread


def read_style(path: Path, resolution: int) -> list[np.ndarray]:
    """A style's frames: the picture, or up to 8 of a video, evenly spread over it; RGB uint8 (H, W, 3).

    Args:
        path: the file.
        resolution: pixels that the shorter side is scaled to.

    Raises:
        UsageError: it is no picture and no video, or smaller than 16 pixels a side. RunError: it cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"style {path}: {'a folder, not a picture or a video' if path.is_dir() else 'no such file'}")
    kind = sniff(path)
    if kind not in ("image", "video"):
        raise UsageError(f"style {path}: neither a picture nor a video")
    if kind == "image":
        picture = open_rgb(path)
        _check_size(path, *picture.size)
        return [resized(picture, *_size(picture.size, resolution))]
    reader = open_reader(path)
    _check_size(path, reader.info.width, reader.info.height)
    count = reader.info.num_frames
    places = np.unique(np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int)).tolist()
    return list(reader.read(places, *_size((reader.info.width, reader.info.height), resolution)))


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise UsageError(f"style {path}: {width}x{height} pixels; at least {SMALLEST} a side are needed")


def _size(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """(height, width) whose shorter side is `resolution`."""
    scale = resolution / min(size)
    return max(SMALLEST, round(size[1] * scale)), max(SMALLEST, round(size[0] * scale))
