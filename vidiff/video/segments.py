"""A film as segments that follow each other: at its shots, or of one length. No torch in here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.progress import track
from vidiff.video.container import stated_frames
from vidiff.video.remux import Film, open_film
from vidiff.video.shots import Detector, check_detector, shot_starts

SEEN = (72, 96)  # height and width of the frames that are searched for cuts


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `end` - 1 of a film, shown from `start_s` to `end_s` seconds."""

    start: int
    end: int
    start_s: float
    end_s: float

    def __str__(self) -> str:
        return f"frames {self.start} to {self.end}, {self.start_s:.3f} s to {self.end_s:.3f} s"


@dataclass(frozen=True)
class Clock:
    """When the frames of a film are shown.

    Args:
        ticks: of each frame, and at the end when the last one has stood; rising, 0 where the film's clock begins.
        time_base: seconds of a tick.
    """

    ticks: tuple[int, ...]
    time_base: Fraction

    @property
    def num_frames(self) -> int:
        return len(self.ticks) - 1

    def seconds(self, frame: int) -> Fraction:
        """When a frame begins to be shown; that of `num_frames` is the end of the film."""
        return self.ticks[frame] * self.time_base

    def first_at(self, seconds: Fraction) -> int:
        """The first frame that begins at this time or later, half a tick forgiven."""
        return bisect_left(self.ticks, seconds / self.time_base - Fraction(1, 2))

    def segments(self, starts: Iterable[int]) -> list[Segment]:
        """The whole film in segments that begin at these frames, 0 the first of them."""
        bounds = [*starts, self.num_frames]
        return [Segment(a, b, float(self.seconds(a)), float(self.seconds(b))) for a, b in zip(bounds, bounds[1:])]


def read_clock(path: Path, warn: Callable[[str], None]) -> Clock:
    """The clock of a film; every frame is decoded for it, as the container's count may be wrong.

    Raises:
        RunError: it cannot be read.
    """
    with open_film(path, warn) as film:
        for _ in track(film.decoded(), f"reading {path.name}", stated_frames(path)):
            pass
        return _clock(film)


def even_segments(
    path: Path, every: float | None, every_frames: int | None, warn: Callable[[str], None]
) -> tuple[Clock, list[Segment]]:
    """The clock of a film, and segments of so many seconds or frames; the last one may be shorter.

    Raises:
        UsageError: not exactly one of the two is given, or it is not above 0. RunError: the film cannot be read.
    """
    if (every is None) == (every_frames is None):
        raise UsageError("every (seconds) or every_frames: give one of them")
    if every is not None and not 0 < every < float("inf"):
        raise UsageError(f"every must be above 0 seconds, got {every}")
    if every_frames is not None and every_frames < 1:
        raise UsageError(f"every_frames must be at least 1, got {every_frames}")
    clock = read_clock(path, warn)
    if every_frames is not None:
        return clock, clock.segments(range(0, clock.num_frames, every_frames))
    begin, step, starts = clock.seconds(0), Fraction(every).limit_denominator(10**6), [0]
    for number in range(1, int((clock.seconds(clock.num_frames) - begin) / step) + 1):
        starts.append(clock.first_at(begin + number * step))
    return clock, clock.segments(sorted({start for start in starts if start < clock.num_frames}))


def shot_segments(
    path: Path, detector: Detector, min_frames: int, warn: Callable[[str], None]
) -> tuple[Clock, list[Segment]]:
    """The clock of a film, and its shots, as it is displayed; see `vidiff.video.shots.shot_starts`.

    Raises:
        UsageError: there is no such detector here. RunError: the film cannot be read.
    """
    check_detector(detector)
    with open_film(path, warn) as film:
        frames = track(film.frames(*SEEN), f"shots of {path.name}", stated_frames(path))
        starts = list(shot_starts(frames, detector, min_frames))
        clock = _clock(film)
        return clock, clock.segments(starts)


def _clock(film: Film) -> Clock:
    """Of a film that was decoded to its end."""
    ticks = [time for time, _ in film.times]
    lasts = film.last_lasts if film.last_lasts > 0 else film.times[-1][1]
    return Clock((*ticks, ticks[-1] + lasts), film.form.time_base)
