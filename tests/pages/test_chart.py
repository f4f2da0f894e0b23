"""Curves: what is drawn is what was logged."""

from __future__ import annotations

import re

import pytest

from vidiff.pages.chart import HEIGHT, LEFT, RIGHT, WIDTH, Series, binned, chart, ladder, log_ticks, ticks


def line_of(svg: str) -> list[tuple[float, float]]:
    points = re.search(r'<polyline points="([^"]+)"', svg)[1]
    return [tuple(map(float, point.split(","))) for point in points.split()]


def test_a_line_runs_from_the_first_to_the_last_step():
    svg = chart("loss", [Series("d", [(0, 1.0), (50, 3.0), (100, 2.0)])])
    (x0, y0), (x1, y1), (x2, y2) = line_of(svg)
    assert (x0, x1, x2) == (LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT)
    assert y1 < y2 < y0 and (y0 - y2) == pytest.approx((y0 - y1) / 2, abs=0.1)  # y runs down


def test_few_large_values_make_the_axis_logarithmic():
    (_, a), (_, b), (_, c) = line_of(chart("fvd", [Series("d", [(0, 100.0), (1, 10.0), (2, 1.0)])]))
    assert b - a == pytest.approx(c - b, abs=0.2)
    (_, a), (_, b), (_, c) = line_of(chart("fvd", [Series("d", [(0, 21.0), (1, 11.0), (2, 1.0)])]))
    assert b - a == pytest.approx(c - b, abs=0.2)


def test_neighbors_are_averaged_and_their_range_is_kept():
    points = [(i, float(i % 7)) for i in range(1000)]
    bins = binned(points, 100)
    assert len(bins) == 100
    assert sum(mean for _, mean, *_ in bins) / 100 == pytest.approx(sum(v for _, v in points) / 1000)
    assert min(low for *_, low, _ in bins) == 0 and max(high for *_, high in bins) == 6
    assert binned([(3, 2.0)]) == [(3, 2.0, 2.0, 2.0)]


@pytest.mark.parametrize("points", [[(0, 0.0)], [(5, -3.0), (5, -3.0)], [(0, 1e-30), (1, 1e30)], [(0, 0.0), (9, 1e-9)]])
def test_odd_values_are_drawn_inside(points):
    for x, y in line_of(chart("x", [Series("s", points, floor=1.0)])):
        assert LEFT <= x <= WIDTH - RIGHT and 0 <= y <= HEIGHT


@pytest.mark.parametrize("low, high", [(0, 1), (-3, 17), (0.001, 0.0042), (1e5, 3e6), (2, 2)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high)
    assert 1 <= len(found) <= 10 and all(low - 1e-9 <= t <= high * (1 + 1e-9) + 1e-9 for t in found)


@pytest.mark.parametrize("low, high", [(0.9, 45), (1e-4, 1e4), (3, 130)])
def test_logarithmic_ticks(low, high):
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low <= t <= high for t in found)


def test_the_values_under_the_pointer_are_the_logged_ones():
    svg = chart("x", [Series("s", [(0, 1.25), (10, 2.5)], floor=2.0)])
    found = [tuple(map(float, p.split(",")[:2])) for p in re.search(r'data-v="([^"]+)"', svg)[1].split()]
    assert found == [(0, 1.25), (10, 2.5)]
    assert "s from 1.25 to 2.5" in svg and "floorline" in svg


def test_a_ladder_is_in_order_and_longer_is_worse():
    text = ladder([("model", 10.0, "own"), ("floor", 1.0, "floor"), ("noise", 100.0, "rubbish")], "fvd")
    assert re.findall(r'class="label">(\w+)', text) == ["floor", "model", "noise"]
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%", text)]
    assert widths == [4.0, 52.0, 100.0]
    assert ladder([("a", 0.0, "own"), ("b", 0.0, "floor")], "x")
