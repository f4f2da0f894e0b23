"""The reader interface, and the PyAV backend: the same frames as decord, with the index arithmetic decord does inside.

No torch in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vidiff.data.images import ReadError


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
            height, width: size to resize to (see RESIZE_RULE); both None keeps the size of the source.

        Raises:
            ReadError: the file cannot be opened or one of these frames cannot be decoded.
        """
        raise NotImplementedError

    @cached_property
    def info(self) -> Info:
        return self.measure()

    @property
    def num_frames(self) -> int:
        return self.info.num_frames

    @property
    def fps(self) -> float | None:
        return self.info.fps

    @property
    def width(self) -> int:
        return self.info.width

    @property
    def height(self) -> int:
        return self.info.height


def _check_indices(path: Path, indices: Sequence[int], count: int) -> None:
    low, high = min(indices), max(indices)
    if low < 0 or high >= count:
        raise ReadError(path, f"frames {low}..{high} were asked for, but the video has only {count}")


class PyAVReader(Reader):
    """A video file through PyAV.

    Frame i is the i-th in presentation order. The packets' timestamps, sorted, say which timestamp that is; decoding
    then starts at the keyframe before it. Where timestamps are missing, repeated, out of order or do not come back
    from the decoder, frames are counted from the start instead: slower, never wrong.
    """

    def check(self) -> None:
        """Raise ReadError if the file has no video frames at all; decodes nothing."""
        with self._open() as (container, stream):
            _timestamps(container, stream)

    def measure(self) -> Info:
        with self._open() as (container, stream):
            fps = float(stream.average_rate or stream.guessed_rate or 0) or None
            pts = _timestamps(container, stream)
        try:
            height, width = self.read([len(pts) - 1]).shape[1:3]
            count = len(pts)
        except ReadError:
            # The packets promise more than can be decoded: count what can, from the start.
            count = 0
            with self._open() as (container, stream):
                for frame in _frames(container, stream):
                    count, (height, width) = count + 1, _array(frame, None, None).shape[:2]
            if count == 0:
                raise ReadError(self.path, "no frame can be decoded") from None
        return Info(count, fps, width, height)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        wanted = sorted({int(i) for i in indices})
        with self._open() as (container, stream):
            pts = _timestamps(container, stream)
        _check_indices(self.path, indices, len(pts))
        found = self._seek_read(wanted, pts, height, width)
        if len(found) < len(wanted):
            found = self._count_read(wanted, height, width)
        if len(found) < len(wanted):
            missing = next(i for i in wanted if i not in found)
            raise ReadError(self.path, f"damaged (frame {missing} of {len(pts)} cannot be decoded)")
        return np.stack([found[int(i)] for i in indices])

    def _seek_read(self, wanted: list[int], pts: list, height: int | None, width: int | None) -> dict:
        if None in pts or len(set(pts)) < len(pts):
            return {}
        position, found = {p: i for i, p in enumerate(pts)}, {}
        with self._open() as (container, stream):
            if container.format.name == "avi":  # has decoding times only, wrong where frames are reordered
                return {}
            try:
                container.seek(pts[wanted[0]], stream=stream, backward=True)
            except _av_errors():
                return {}
            for frame in _frames(container, stream):
                i = position.get(frame.pts)
                if i in wanted:
                    found[i] = _array(frame, height, width)
                if i is None or i >= wanted[-1]:
                    break
        return found

    def _count_read(self, wanted: list[int], height: int | None, width: int | None) -> dict:
        found = {}
        with self._open() as (container, stream):
            for i, frame in enumerate(_frames(container, stream)):
                if i in wanted:
                    found[i] = _array(frame, height, width)
                if i >= wanted[-1]:
                    break
        return found

    @contextmanager
    def _open(self):
        import av

        try:
            container = av.open(str(self.path))
        except _av_errors():
            raise ReadError(self.path, "not a readable video (damaged or cut off, or not a video at all)") from None
        with container:
            if not container.streams.video:
                raise ReadError(self.path, "it holds no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            yield container, stream


def _av_errors() -> tuple:
    import av

    return (av.FFmpegError, ValueError, IndexError, OSError)


def _timestamps(container, stream) -> list:
    """Presentation timestamps of all frames to be shown, sorted; without decoding anything."""
    pts = []
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                pts.append(packet.pts)
    except _av_errors():
        pass  # cut off: what was read until here is what there is
    if not pts:
        raise ReadError(container.name, "the video has no frames")
    return pts if None in pts else sorted(pts)


def _frames(container, stream) -> Iterator:
    """Decoded frames until the end or the first damage."""
    try:
        yield from container.decode(stream)
    except _av_errors():
        return


def _array(frame, height: int | None, width: int | None) -> np.ndarray:
    """A frame as (H, W, 3) RGB, resized and turned upright as the file asks."""
    turns = round((frame.rotation or 0) / 90) % 4
    if turns % 2:
        height, width = width, height
    frame = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR")
    return np.rot90(frame.to_ndarray(), turns)
