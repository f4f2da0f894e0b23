"""The second video backend, PyAV: same frames as decord, with the index arithmetic decord does inside. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from vidiff.data.reader import Info, Reader, ReadError, _check_indices


class PyAVReader(Reader):
    """A video file through PyAV.

    Frame i is the i-th in presentation order. The packets' timestamps, sorted, say which timestamp that is; decoding
    then starts at the keyframe before it. Where timestamps are missing, repeated, out of order or do not come back
    from the decoder, frames are counted from the start instead: slower, never wrong.
    """

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
