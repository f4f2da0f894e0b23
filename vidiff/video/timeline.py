"""The clock of an edited film: when each frame is shown and which sound is heard, from that of its source.

A part of n frames at times s(0) .. s(n) (its end) becomes m frames, of which the first f are shared with the part
before. Frame k of it is frame floor((k + 1/2) n / m) of the source, shown at

    t(k) = begin + (s(k n / m) - s(0)) m / n,      s between two frames: linear
    begin = t(m - f) of the part before, its first f frames being this part's too

so that the film has sum(m) - sum(f) frames, and its sound is n / m times as fast. No torch in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vidiff.video.segments import Clock


@dataclass(frozen=True)
class Part:
    """Frames `start` to `end` - 1 of the source.

    Args:
        start, end: numbers of frames.
        count: how many frames they become; 0: they are left out.
        fade: of these, how many are shared with the part before that is not left out.
    """

    start: int
    end: int
    count: int
    fade: int = 0


@dataclass(frozen=True)
class Piece:
    """What is heard of the source, in seconds.

    Args:
        start, end: of the source.
        at: when it begins in the film.
        lasts: how long it is heard there: `end - start`, or less or more where it is played faster or slower.
        fade: how long it is mixed with the piece before.
    """

    start: Fraction
    end: Fraction
    at: Fraction
    lasts: Fraction
    fade: Fraction = Fraction(0)


class Timeline:
    """When the frames of an edited film are shown.

    Args:
        clock: of the source.
        parts: of the source, in order.
    """

    def __init__(self, clock: Clock, parts: Sequence[Part]):
        self.clock, self.parts = clock, [part for part in parts if part.count]
        assert self.parts and not self.parts[0].fade
        self.begins = [Fraction(clock.ticks[0] if self.parts[0].start == 0 else 0)]  # in ticks
        for part, following in zip(self.parts, self.parts[1:]):
            self.begins.append(self.begins[-1] + self._time(part, part.count - following.fade))

    @property
    def num_frames(self) -> int:
        return sum(part.count - part.fade for part in self.parts)

    @property
    def seconds(self) -> Fraction:
        """How long the film is."""
        return (self.begins[-1] + self._time(self.parts[-1], self.parts[-1].count)) * self.clock.time_base

    @property
    def unchanged(self) -> bool:
        """Whether every frame is shown when it was."""
        bounds = [0, *(part.end for part in self.parts)]
        whole = [part.start for part in self.parts] == bounds[:-1] and bounds[-1] == self.clock.num_frames
        return whole and all(part.count == part.end - part.start and not part.fade for part in self.parts)

    def times(self) -> list[tuple[int, int]]:
        """(time, duration) of every frame, in ticks of the source."""
        starts = list(self._starts())
        return [(a, b - a) for a, b in zip(starts, starts[1:])]

    def _starts(self) -> Iterator[int]:
        """When each frame is shown, and the end of the film."""
        last = -1
        fades = [*(part.fade for part in self.parts[1:]), 0]
        for part, begin, fade in zip(self.parts, self.begins, fades):
            for k in range(part.count - fade):
                last = max(last + 1, round(begin + self._time(part, k)))
                yield last
        yield max(last + 1, round(self.begins[-1] + self._time(self.parts[-1], self.parts[-1].count)))

    def pieces(self) -> list[Piece]:
        """What is heard: of each part, and of what is heard before the first frame of the source is shown."""
        base, out = self.clock.time_base, []
        if self.begins[0]:
            lead = self.begins[0] * base
            out.append(Piece(Fraction(0), lead, Fraction(0), lead))
        for part, begin in zip(self.parts, self.begins):
            span = self.clock.seconds(part.start), self.clock.seconds(part.end)
            lasts, fade = (self._time(part, k) * base for k in (part.count, part.fade))
            out.append(Piece(*span, begin * base, lasts, fade))
        return out

    def _time(self, part: Part, k: int) -> Fraction:
        """When frame k of a part is shown, in ticks since the part began; that of `count` is its end."""
        length, ticks = part.end - part.start, self.clock.ticks
        whole, rest = divmod(k * length, part.count)
        place = part.start + whole
        inside = Fraction(rest * (ticks[place + 1] - ticks[place]), part.count) if rest else 0
        return (ticks[place] + inside - ticks[part.start]) * Fraction(part.count, length)
