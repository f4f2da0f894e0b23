"""The clock of an edited film: its formula written a second time, and what holds for every film."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidiff.video.segments import Clock
from vidiff.video.timeline import Part, Timeline

EVEN = Clock(tuple(range(0, 73 * 512, 512)), Fraction(1, 12288))  # 72 frames, 24 a second
STEPS = np.random.default_rng(0).integers(1, 90, 72)
UNEVEN = Clock((7, *(7 + np.cumsum(STEPS)).tolist()), Fraction(1, 1000))


def test_an_even_film_stays_even():
    line = Timeline(EVEN, [Part(0, 24, 24), Part(24, 48, 10), Part(48, 72, 48, fade=6)])
    assert line.num_frames == 76 and line.seconds == Fraction(76, 24) and not line.unchanged
    assert line.times() == [(512 * k, 512) for k in range(76)]
    first, second, third = line.pieces()
    assert (second.start, second.end, second.at, second.lasts) == (1, 2, 1, Fraction(10, 24))
    assert (third.at, third.lasts, third.fade) == (1 + Fraction(4, 24), 2, Fraction(6, 24))
    assert first.fade == second.fade == 0


@pytest.mark.parametrize(("count", "fade"), [(30, 0), (17, 0), (61, 5), (30, 30)])
def test_the_formula(count, fade):
    line = Timeline(UNEVEN, [Part(0, 40, 40), Part(40, 70, count, fade)])
    source = np.array(UNEVEN.ticks, float)
    places = np.interp(np.arange(count + 1) * 30 / count, np.arange(31), source[40:71]) - source[40]
    begin = source[40 - fade]
    expected = [*source[: 40 - fade], *(begin + places * count / 30)]
    starts = [time for time, _ in line.times()]
    assert len(starts) == line.num_frames == 40 + count - fade
    assert np.abs(np.array(starts) - expected[:-1]).max() <= 0.5 + 1e-9
    assert float(line.seconds) * 1000 == pytest.approx(expected[-1])
    assert all(duration >= 1 for _, duration in line.times())
    assert sum(duration for _, duration in line.times()) == pytest.approx(expected[-1] - 7, abs=1)


def test_what_is_heard_before_the_first_frame_stays_where_nothing_is_cut_off():
    whole = Timeline(UNEVEN, [Part(0, 72, 72)])
    assert whole.unchanged and whole.times()[0][0] == 7
    lead, rest = whole.pieces()
    assert (lead.start, lead.end, lead.at, lead.lasts) == (0, Fraction(7, 1000), 0, Fraction(7, 1000))
    assert rest.at == rest.start == Fraction(7, 1000)
    later = Timeline(UNEVEN, [Part(0, 10, 0), Part(10, 72, 62)])
    assert later.times()[0][0] == 0 and len(later.pieces()) == 1 and not later.unchanged


def test_frames_never_share_a_tick():
    coarse = Clock(tuple(range(11)), Fraction(1, 10))
    line = Timeline(coarse, [Part(0, 5, 5), Part(5, 10, 5)])
    assert line.unchanged and [time for time, _ in line.times()] == list(range(10))
    slow = Timeline(Clock((0, 1, 2, 50), Fraction(1, 10)), [Part(0, 2, 1), Part(2, 3, 5)])
    assert (np.diff([time for time, _ in slow.times()]) >= 1).all()
