"""What is read while a video is written again: frames, their times and format, and what comes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidiff.errors import RunError
from vidiff.video.container import av_errors, films, has_decoding_times, reason, video_stream
from vidiff.video.display import Picture, orientation, pixel_aspect
from vidiff.video.encode import BT601, BT709, VideoFormat, frame_rate
from vidiff.video.hdr import hdr_curve
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import Reader
from vidiff.video.tracks import Tracks

UNTIMED_FPS = 8  # of pictures and arrays, which have no times


class Slides:
    """Pictures that follow each other evenly: what `Film` is for pictures and arrays."""

    metadata: dict[str, str] = {}

    def __init__(self, reader: Reader):
        rate = frame_rate(reader.fps or UNTIMED_FPS)
        self.form, self.count, self.last_lasts = VideoFormat(rate, 1 / rate, Fraction(1)), 0, 0

    def attach(self, writer) -> None:
        """Nothing comes with them."""
        return None

    def next_time(self) -> tuple[int, int]:
        """When the next frame is to be shown, and how long: one tick each."""
        self.count += 1
        return self.count - 1, 1


class Film:
    """A film that is being read: its frames, and when and how they are to be shown.

    Args:
        reader: its open container.
        path: for messages.
        warn: called with what cannot be kept as it was.
    """

    def __init__(self, reader, path: Path, warn: Callable[[str], None]):
        self.reader, self.path, self.warn = reader, path, warn
        self.metadata, self.video = reader.metadata, video_stream(reader, path)
        if others := len(films(reader)) - 1:
            warn(f"it holds {others} more film{'s' * (others > 1)}, left out")
        rate = Fraction(self.video.average_rate or self.video.guessed_rate or 25).limit_denominator(65535)
        self.form = VideoFormat(rate, self.video.time_base)
        self.times: list[tuple[int, int]] = []  # (time, duration) in ticks, of frames that were handed out
        self.last_lasts = 0  # ticks, where the container knows better than the last frame
        # Clocks of recordings begin anywhere: take the first beginning off everything.
        used = [self.video, *reader.streams.audio]
        begins = [s.start_time * s.time_base for s in used if s.start_time is not None]
        self.begin = max(Fraction(0), min(begins, default=Fraction(0)))

    def frames(self) -> Iterator[np.ndarray]:
        """Upright RGB frames (H, W, 3), of the size of the first."""
        video, start = self.video, round(self.begin / self.video.time_base)
        even = has_decoding_times(self.reader, video) and not PyAVReader(self.path).timestamps()[1]
        picture, size = Picture(video, square=False), (video.codec_context.width, video.codec_context.height)
        clock = _Clock(start, max(1, round(1 / self.form.rate / video.time_base)), video.time_base)
        count = 0
        try:
            for frame in self.reader.decode(video):
                picture.complete(frame)
                if not count:
                    self._set_format(frame)
                if all(size) and size != (frame.width, frame.height):
                    now = f"{frame.width}x{frame.height}"
                    self.warn(f"its size changes to {now}; all of it is scaled to its first size")
                    size = (0, 0)  # reported once
                self.times.append(clock(None if even else frame.pts, 0 if even else frame.duration))
                count += 1
                yield picture(frame)
        except av_errors() as error:
            raise RunError(f"{self.path}: damaged after {count} frames ({reason(error)})") from error
        if not count:
            raise RunError(f"{self.path}: no frame can be decoded")
        if "mp4" in self.reader.format.name and video.duration and video.codec_context.has_b_frames:
            # Where frames are reordered, mp4 tells how long a packet lasts until the next one, not a frame.
            self.last_lasts = (video.start_time or 0) + video.duration - clock.last

    def _set_format(self, frame) -> None:
        """Take aspect and colours from the first frame."""
        aspect = pixel_aspect(self.video)
        self.form.aspect = 1 / aspect if orientation(frame)[0] else aspect
        if curve := hdr_curve(frame):
            self.warn(f"HDR ({curve}) is tone-mapped to BT.709: networks see, and the output holds, 8 bits")
            self.form.primaries = self.form.transfer = self.form.matrix = BT709
        else:
            self.form.primaries, self.form.transfer = int(frame.color_primaries), int(frame.color_trc)
            known = int(frame.colorspace) in (1, 2, 4, 5, 6, 7, 9)
            self.form.matrix = int(frame.colorspace) if known and frame.format.is_rgb is False else BT601

    def next_time(self) -> tuple[int, int]:
        """When the next frame is to be shown, and how long."""
        return self.times.pop(0)

    def attach(self, writer) -> Tracks:
        """Give the output what comes with the film: sound, subtitles, covers."""
        if self.video.language:
            writer.streams.video[0].metadata["language"] = self.video.language
        return Tracks(self.path, writer, self.begin, self.warn)


class _Clock:
    """Times that rise and start at 0, and durations, of frames that are asked about in order.

    Args:
        start: what the clock of the source shows at 0.
        one: what a frame lasts where nothing better is known. All in ticks.
        time_base: seconds of a tick.
    """

    def __init__(self, start: int, one: int, time_base: Fraction):
        self.start, self.one = start, one
        self.back = round(Fraction(1, 2) / time_base)  # further than frames are ever out of order
        self.last, self.step, self.shift = None, one, 0

    def __call__(self, pts: int | None, duration: int | None) -> tuple[int, int]:
        if self.last is None:
            time = self.start if pts is None else pts
        else:
            if pts is not None and pts + self.shift < self.last - self.back:  # the clock was put back
                self.shift = self.last + self.step - pts
            time = self.last + self.one if pts is None else pts + self.shift
            time = time if time > self.last else self.last + self.one
            self.step = time - self.last
        self.last = time
        return time - self.start, duration or self.one
