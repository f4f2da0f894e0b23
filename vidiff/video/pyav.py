"""The PyAV back end: every frame that a player would show, as it would show it. No torch in here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from vidiff.video.container import av_errors, has_decoding_times, open_container, video_stream
from vidiff.video.display import Picture
from vidiff.video.reader import Info, Reader, ReadError, check_indices


class PyAVReader(Reader):
    """A video file through PyAV.

    Frame i is the i-th in presentation order. The packets' timestamps, sorted, say which timestamp that is; decoding
    then starts at the keyframe before it. Where timestamps are missing, repeated, out of order or do not come back
    from the decoder, frames are counted from the start instead: slower, never wrong.
    """

    def timestamps(self) -> tuple[list, bool]:
        """Presentation timestamps of all frames to be shown, sorted, and whether they can be relied on."""
        with self.open() as (container, stream):
            return self._times(container, stream)

    def measure(self) -> Info:
        with self.open() as (container, stream):
            fps = float(stream.average_rate or stream.guessed_rate or 0) or None
            picture, times = Picture(stream), self._times(container, stream)
            count = len(times[0])
            found = self._find(container, stream, picture, times, [count - 1])
        if not found:
            # The packets promise more than can be decoded: count what can, from the start.
            with self.open() as (container, stream):
                picture, count = Picture(stream), 0
                for frame in _frames(container, stream):
                    count, found = count + 1, {0: picture(frame)}
            if count == 0:
                raise ReadError(self.path, "no frame can be decoded")
        height, width = next(iter(found.values())).shape[:2]
        return Info(count, fps, width, height)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        with self.open() as (container, stream):
            picture, times = Picture(stream), self._times(container, stream)
            check_indices(self.path, indices, len(times[0]))
            wanted = sorted({int(i) for i in indices})
            found = self._find(container, stream, picture, times, wanted, height, width)
        if len(found) < len(wanted):
            missing = next(i for i in wanted if i not in found)
            raise ReadError(self.path, f"damaged (frame {missing} of {len(times[0])} cannot be decoded)")
        return np.stack([found[int(i)] for i in indices])

    def _find(self, container, stream, picture, times: tuple, wanted: list[int], *size: int | None) -> dict:
        """Pictures of the frames wanted (increasing), as far as they can be decoded."""
        pts, sure = times
        found = None
        if sure:
            try:
                container.seek(pts[wanted[0]], stream=stream, backward=True)
                frames = _frames(container, stream)
                found = self._by_time(frames, picture, pts, wanted, *size, sought=True)
            except av_errors():
                found = {}
        if found is not None and len(found) < len(wanted):  # the keyframe was none, or is damaged: from the start
            with self.open() as (container, stream):
                found = self._by_time(_frames(container, stream), Picture(stream), pts, wanted, *size)
        return self._by_count(wanted, *size) if found is None else found

    def _by_time(self, frames, picture, pts: list, wanted: list[int], *size, sought: bool = False) -> dict | None:
        """Frames known by their timestamps, from where the file stands; as far as they decode.

        None where the timestamps that come back are not those of the packets, in order. After a seek a frame may lack
        those that it is made from: such a corrupt one does not count.
        """
        number, places, found, before = {p: i for i, p in enumerate(pts)}, set(wanted), {}, -math.inf
        for frame in frames:
            i = number.get(frame.pts)
            if frame.pts is None or frame.pts <= before or (i is None and frame.pts > pts[0]):
                return None
            before = frame.pts
            if i in places and not (sought and frame.is_corrupt):
                found[i] = picture(frame, *size)
            if i is not None and i >= wanted[-1]:
                break
        return found

    def _by_count(self, wanted: list[int], *size: int | None) -> dict[int, np.ndarray]:
        """Frames known by their number, counted from the start."""
        found, places = {}, set(wanted)
        with self.open() as (container, stream):
            picture = Picture(stream)
            for i, frame in enumerate(_frames(container, stream)):
                if i in places:
                    found[i] = picture(frame, *size)
                if i >= wanted[-1]:
                    break
        return found

    @contextmanager
    def open(self):
        """The open container and its video stream."""
        try:
            container = open_container(self.path)
        except av_errors():
            raise ReadError(self.path, "not a readable video (damaged or cut off, or not a video at all)") from None
        with container:
            yield container, video_stream(container, self.path)

    def _times(self, container, stream) -> tuple[list, bool]:
        """Presentation timestamps of all frames to be shown, sorted, and whether they can be relied on.

        No more than the first frame is decoded.
        """
        pts, first = [], []
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    pts.append(packet.pts)
                if not first and packet.size:
                    first = _decoded(stream, packet)
        except av_errors():
            pass  # cut off: what was read until here is what there is
        if not pts:
            raise ReadError(self.path, "the video has no frames")
        if None in pts or not first or first[0].pts is None:
            return pts, False
        in_order = sorted(pts)
        wrong = has_decoding_times(container, stream) and in_order == pts  # in order where the frames are not
        # A recording that starts between two keyframes has packets that nobody can decode.
        shown = [p for p in in_order if p >= first[0].pts]
        return shown, not wrong and len(set(shown)) == len(shown)


def _decoded(stream, packet) -> list:
    """What a packet makes the decoder give; nothing where it is damaged."""
    try:
        return stream.decode(packet)
    except av_errors():
        return []


def _frames(container, stream) -> Iterator:
    """Decoded frames until the end or the first damage."""
    try:
        yield from container.decode(stream)
    except av_errors():
        return
