"""What every video is to the rest of the package: a reader, its measures, its error. No back end, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vidiff.errors import RunError

if TYPE_CHECKING:
    import numpy as np


class ReadError(RunError):
    """A file that cannot be read; the message names it.

    Args:
        path: the file (or folder of frames).
        reason: what is wrong with it, in a few words.
    """

    def __init__(self, path: Path | str, reason: str):
        super().__init__(str(path), reason)
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


@dataclass(frozen=True)
class Info:
    """What a video measures: decodable frames, frames per second (None: unknown), width and height as displayed."""

    num_frames: int
    fps: float | None
    width: int
    height: int


class Reader:
    """A video on disk. `read` gives frames, `info` measures; both open the file and close it again."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def measure(self) -> Info:
        """Open the file and measure it; the last frame is decoded, so that `num_frames` can be relied on."""
        raise NotImplementedError

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        """Frames as uint8 (T, H, W, 3) RGB, in the order of `indices` (repeats allowed).

        Args:
            indices: frame numbers in 0 .. num_frames-1.
            height, width: size to resize to (see `open.RESIZE_RULE`); both None gives the size as displayed.

        Raises:
            ReadError: the file cannot be opened or one of these frames cannot be decoded.
        """
        raise NotImplementedError

    @cached_property
    def info(self) -> Info:
        """`measure`, once."""
        return self.measure()


def check_indices(path: Path, indices: Sequence[int], count: int) -> None:
    """Raise ReadError where a frame is asked for that a video of `count` frames does not have."""
    low, high = min(indices), max(indices)
    if low < 0 or high >= count:
        raise ReadError(path, f"frames {low}..{high} were asked for, but the video has only {count}")
