"""The reader interface, and the PyAV backend: every frame that a player would show, as it would show it.

No torch in here.
"""

from __future__ import annotations

import math
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from vidiff.video.filetype import ReadError
from vidiff.video.hdr import hdr_curve, tone_map

# What a frame says of its colours, and the values that say nothing.
UNKNOWN = {"color_primaries": (0, 2), "color_trc": (0, 2), "colorspace": (2,), "color_range": (0,)}
ASPECT = 16  # pixels more than so many times as wide as high, or as high as wide, are a fault of the header


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
            height, width: size to resize to (see RESIZE_RULE); both None gives the size as displayed.

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
            _check_indices(self.path, indices, len(times[0]))
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
        """The open container and the stream of its film."""
        import av

        try:
            container = av.open(local(self.path), metadata_errors="replace")
        except av_errors():
            raise ReadError(self.path, "not a readable video (damaged or cut off, or not a video at all)") from None
        with container:
            yield container, film(container, self.path)

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
        # AVI, and ASF by some programs, have decoding times only: in order where the frames are not.
        in_order, reordered = sorted(pts), stream.codec_context.has_b_frames
        wrong = container.format.name in ("avi", "asf") and reordered and in_order == pts
        # A recording that starts between two keyframes has packets that nobody can decode.
        shown = [p for p in in_order if p >= first[0].pts]
        return shown, not wrong and len(set(shown)) == len(shown)


def _decoded(stream, packet) -> list:
    """What a packet makes the decoder give; nothing where it is damaged."""
    try:
        return stream.decode(packet)
    except av_errors():
        return []


def av_errors() -> tuple:
    """What PyAV raises for a file that it cannot read."""
    import av

    return (av.FFmpegError, ValueError, IndexError, OSError)


def local(path: Path | str) -> str:
    """A path as FFmpeg takes it: absolute, for it reads `12:30:05.mp4` as a file of the protocol `12`."""
    return os.path.abspath(path)


def film(container, path: Path | str):
    """The video stream that a player shows, decoded in one thread: never a cover picture.

    Raises:
        ReadError: there is none, or FFmpeg does not know its codec.
    """
    from av.stream import Disposition

    no_film = Disposition.attached_pic | Disposition.timed_thumbnails
    films = [s for s in container.streams.video if not s.disposition & no_film]
    if not films:
        covers = " (only a cover picture)" if container.streams.video else ""
        raise ReadError(path, f"it holds no video stream{covers}")
    best = container.streams.best("video")
    stream = best if best in films else films[0]
    if stream.codec_context is None:
        raise ReadError(path, f"its codec{_codec_tag(path)} is unknown to FFmpeg")
    stream.codec_context.thread_count = 1
    return stream


def pixel_aspect(stream) -> Fraction:
    """Width of a pixel over its height; 1 where the file does not say or cannot mean it."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if aspect and Fraction(1, ASPECT) <= aspect <= ASPECT else Fraction(1)


class Picture:
    """Decoded frames as RGB pictures: turned and mirrored as the file asks, all of one size.

    Args:
        stream: freshly opened: its size is the first frame's, and a recording that changes it is scaled to that.
        square: make pixels square (the width changes); False keeps the stored pixels.
    """

    def __init__(self, stream, square: bool = True):
        from av.video.reformatter import Interpolation, VideoReformatter

        # One for all frames: a frame's own `reformat` makes a new scaler, and its threads, each time.
        self._scaler, self._rule = VideoReformatter(), Interpolation.BILINEAR
        aspect = pixel_aspect(stream) if square else 1
        context = stream.codec_context
        self._stored = (max(1, round(context.width * aspect)), context.height) if context.height else None
        self._path = stream.container.name
        self._colors = {name: getattr(context, name) for name in UNKNOWN}

    def __call__(self, frame, height: int | None = None, width: int | None = None) -> np.ndarray:
        """uint8 (H, W, 3), of the size given or, without one, as displayed."""
        transposed, down, across = orientation(frame)
        self.complete(frame)
        frame = tone_map(frame, self._path) if hdr_curve(frame) else frame
        size = (height, width) if transposed else (width, height)
        if not (height and width):
            size = self._stored = self._stored or (frame.width, frame.height)
        image = self._scaler.reformat(frame, *size, format="rgb24", interpolation=self._rule, threads=1).to_ndarray()
        image = image.swapaxes(0, 1) if transposed else image
        return np.ascontiguousarray(image[:: -1 if down else 1, :: -1 if across else 1])

    def complete(self, frame) -> None:
        """Give a frame the colour tags that only the container has."""
        for name, value in self._colors.items():
            if getattr(frame, name) in UNKNOWN[name] and value not in UNKNOWN[name]:
                setattr(frame, name, value)


def orientation(frame) -> tuple[bool, bool, bool]:
    """(transposed, then top to bottom, then left to right) of a frame's display matrix: eight cases.

    The matrix takes column x and row y to column a x + c y and row b x + d y.
    """
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def _frames(container, stream) -> Iterator:
    """Decoded frames until the end or the first damage."""
    try:
        yield from container.decode(stream)
    except av_errors():
        return


def _codec_tag(path: Path | str) -> str:
    """The four letters of a codec in an mp4 or mov, as ` (brxq)`; nothing where they are not found."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(rb"stsd.{12}([ -~]{4})", content, re.DOTALL)
            return f" ({found[1].decode()})" if found else ""
    except (OSError, ValueError):
        return ""
