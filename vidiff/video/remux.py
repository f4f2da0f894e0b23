"""From a video to a video file, frame by frame: times, aspect, colours and sound stay. No torch in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from vidiff import __version__
from vidiff.errors import RunError, UsageError
from vidiff.files import check_suffix, check_writable
from vidiff.video.ahead import ahead, behind
from vidiff.video.container import (
    av_errors,
    comment,
    films,
    has_decoding_times,
    open_container,
    reason,
    stated_end,
    video_stream,
)
from vidiff.video.display import Picture, hdr_curve, orientation, pixel_aspect
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import Reader
from vidiff.video.spherical import SUFFIXES as SPHERICAL_SUFFIXES
from vidiff.video.spherical import Spherical, read_spherical
from vidiff.video.tracks import Tracks
from vidiff.video.write import BT601, BT709, Encoder, VideoFormat, frame_rate, new_container

SUFFIXES = (".mp4", ".mov", ".mkv")
MARK = "translated by vidiff"  # in the comment of every output: nobody takes it for the original, this suite neither
UNTIMED_FPS = 8  # of pictures and arrays, which have no times
MISSING = 0.25  # seconds that a header may promise and not keep
Change = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


def identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Device and inode of each file: links and other spellings have the same."""
    return {(status.st_dev, status.st_ino) for status in (p.stat() for p in paths if p.is_file())}


def check_output(target: Path, sources: set[tuple[int, int]]) -> None:
    """Raise UsageError where `target` is one of the sources, under whatever name, or cannot be written.

    Args:
        target: a file that need not exist.
        sources: `identities` of the inputs.
    """
    check_suffix(target, *SUFFIXES)
    if identities([target]) & sources:
        raise UsageError(f"{target}: the output would replace the input")
    check_writable(target)


def remux(
    source: Path,
    target: Path,
    change: Change,
    warn: Callable[[str], None] = print,
    made: str = "",
    spherical: Spherical | None = None,
    mark: str = MARK,
) -> int:
    """Write `target` with the frames that `change` makes of those of a film; returns their number.

    Every frame keeps its time and its duration, on a clock that starts at 0; pixel aspect and the tags of the colours
    stay. Sound is copied where the output can hold it, else encoded. H.264, 4:2:0 (4:4:4 where a side is odd).

    Args:
        source: a video file.
        target: ends in .mp4, .mov or .mkv; appears only when it is whole.
        change: RGB frames uint8 (H, W, 3) in, as many frames out in the same order (they may be of another size).
        warn: called with what cannot be kept as it was.
        made: by what, for the comment of the file.
        spherical: what is said of projection and eyes; None: what the source says, where the frames keep its shape.
        mark: what the comment calls it.

    Raises:
        RunError: the source cannot be read, or the frames not be encoded. UsageError: the output cannot be written.
    """
    check_output(target, identities([source]))
    with open_film(source, warn) as shown, ahead(shown.frames()) as frames:
        images = change(frames)
        first = next(images)
        said = spherical or read_spherical(source)
        size = shown.video.codec_context.width, shown.video.codec_context.height
        if first.shape[1] * size[1] != first.shape[0] * size[0]:  # such as two beside each other
            said = Spherical()
        if said != Spherical() and target.suffix.lower() not in SPHERICAL_SUFFIXES:
            shown.warn(f"that it is a panorama, or of two eyes, cannot be said in {target.suffix}")
            said = Spherical()
        return write_film(target, chain([first], images), shown, made, mark, said)


@contextmanager
def open_film(source: Path, warn: Callable[[str], None]) -> Iterator[Film]:
    """A film that is open inside the block.

    Raises:
        RunError: it cannot be read.
    """
    try:
        reader = open_container(source)
    except av_errors() as error:
        raise RunError(f"{source}: not a readable video ({reason(error)})") from error
    with reader:
        yield Film(reader, source, lambda text: warn(f"{source}: {text}"))


def record(
    reader: Reader, target: Path, change: Change, made: str = "", spherical: Spherical | None = None, mark: str = MARK
) -> int:
    """Write `target` with the frames that `change` makes of pictures or arrays; returns their number. See `remux`."""
    images = change(reader.read([i])[0] for i in range(reader.info.num_frames))
    return write_film(target, images, Slides(reader), made, mark, spherical or Spherical())


def is_translation(path: Path) -> bool:
    """Whether this suite wrote a video: its comment says so."""
    return MARK in comment(path)


def write_film(
    target: Path,
    images: Iterable[np.ndarray],
    shown: Shown,
    made: str,
    mark: str = MARK,
    spherical: Spherical = Spherical(),
) -> int:
    """Encode frames, beside what comes with them; their number.

    The folder, and anything in it, is made when the first frame has come.

    Args:
        target: ends in .mp4, .mov or .mkv; appears only when it is whole.
        images: RGB frames uint8 (H, W, 3).
        shown: when and how they are to be shown, and what comes with them.
        made: by what, for the comment of the file.
        mark: what the comment calls it.
        spherical: what is said of projection and eyes, in .mp4 and .mov.
    """
    images = iter(images)
    first = next(images)
    with new_container(target, spherical) as writer:
        # Without B-frames a file's last packet is its last frame, so that every frame lasts exactly as long as it did.
        encoder = Encoder(writer, *first.shape[:2], shown.form, bf="0")
        _keep_metadata(writer, shown.metadata, mark, made)
        return behind(lambda made: _encode(writer, encoder, made, shown), chain([first], images))


def _keep_metadata(writer, metadata: dict[str, str], mark: str, made: str) -> None:
    """Title, artist and date of the source, and in the comment that this is a translation, and by what."""
    writer.metadata.update({k: v for k, v in metadata.items() if k.lower() in ("title", "artist", "date")})
    old = next((v for k, v in metadata.items() if k.lower() == "comment"), "")
    writer.metadata["comment"] = "; ".join(filter(None, [old, f"{mark} {__version__}", made]))


def _encode(writer, encoder: Encoder, images: Iterable[np.ndarray], shown: Shown) -> int:
    """Encode every frame at its time, with the sound that is due before it; the number of frames."""
    tracks, durations, count = shown.attach(writer), {}, 0

    def mux(packets: list) -> None:
        for packet in packets:  # x264 forgets durations, and containers then guess how long the last frame stands
            packet.duration = durations.pop(packet.pts)
            writer.mux(packet)

    for image in images:
        time, duration = shown.times.pop(0)
        durations[time] = duration
        if tracks is not None:
            tracks.write_until(time * shown.form.time_base)
        mux(encoder.encode(image, time))
        count += 1
    if shown.last_lasts > 0 and time in durations:
        durations[time] = shown.last_lasts
    mux(encoder.flush())
    if tracks is not None:
        tracks.write_until(None)
    return count


class Shown(Protocol):
    """When and how frames are shown.

    `form` of the frames; `times`: (time, duration) of each in ticks, taken off as it is written; `last_lasts`: ticks,
    0: as `times` has it; `metadata` of the file; `attach(writer)`: what comes with them, None: nothing.
    """

    form: VideoFormat
    times: list[tuple[int, int]]
    last_lasts: int
    metadata: dict[str, str]

    def attach(self, writer) -> Beside | None: ...


class Beside(Protocol):
    """What is written beside the frames: everything that is due before a time in seconds; None: the rest, and close."""

    def write_until(self, seconds: Fraction | None) -> None: ...


class Slides:
    """Pictures that follow each other evenly: what `Film` is for pictures and arrays."""

    metadata: dict[str, str] = {}

    def __init__(self, reader: Reader):
        rate = frame_rate(reader.info.fps or UNTIMED_FPS)
        self.form, self.last_lasts = VideoFormat(rate, 1 / rate, Fraction(1)), 0
        self.times = [(number, 1) for number in range(reader.info.num_frames)]  # one tick each

    def attach(self, writer) -> None:
        """Nothing comes with them."""
        return None


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
        self.times: list[tuple[int, int]] = []  # (time, duration) in ticks, of frames to write
        self.last_lasts = 0  # ticks, where the container knows better than the last frame
        # Clocks of recordings begin anywhere: take the first beginning off everything.
        used = [self.video, *reader.streams.audio]
        begins = [s.start_time * s.time_base for s in used if s.start_time is not None]
        self.begin = max(Fraction(0), min(begins, default=Fraction(0)))

    def frames(self, height: int | None = None, width: int | None = None) -> Iterator[np.ndarray]:
        """Upright RGB frames (H, W, 3), of the size given or of that of the first; `times` tells of each that came."""
        picture = Picture(self.video, square=False)
        return (picture(frame, height, width) for frame in self.decoded(picture))

    def decoded(self, picture: Picture | None = None) -> Iterator:
        """The decoder's frames, of which no picture is made; `times` grows, and is whole behind the last."""
        picture = picture or Picture(self.video, square=False)
        video, start = self.video, round(self.begin / self.video.time_base)
        even = has_decoding_times(self.reader, video) and not PyAVReader(self.path).timestamps()[1]
        size = (video.codec_context.width, video.codec_context.height)
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
                yield frame
        except av_errors() as error:
            raise RunError(f"{self.path}: damaged after {count} frames ({reason(error)})") from error
        if not count:
            raise RunError(f"{self.path}: no frame can be decoded")
        self._check_end(count, clock)
        if "mp4" in self.reader.format.name and video.duration and video.codec_context.has_b_frames:
            # Where frames are reordered, mp4 tells how long a packet lasts until the next one, not a frame.
            self.last_lasts = (video.start_time or 0) + video.duration - clock.last

    def _check_end(self, count: int, clock: _Clock) -> None:
        """Say so where the header promises more than came: FFmpeg ends where a file does, without an error."""
        stated, came = stated_end(self.video), float(clock.end * self.video.time_base)
        if stated is not None and stated - came >= MISSING and not 0 < self.video.frames <= count:
            self.warn(f"its frames end at {came:.2f} s instead of {stated:.2f} s: the rest of it is missing")

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
        self.end = start

    def __call__(self, pts: int | None, duration: int | None) -> tuple[int, int]:
        if self.last is None:
            time = self.start if pts is None else pts
        else:
            if pts is not None and pts + self.shift < self.last - self.back:  # the clock was put back
                self.shift = self.last + self.step - pts
            time = self.last + self.one if pts is None else pts + self.shift
            time = time if time > self.last else self.last + self.one
            self.step = time - self.last
        self.last, self.end = time, time + (duration or self.one)
        return time - self.start, duration or self.one
