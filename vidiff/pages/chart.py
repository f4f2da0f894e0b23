"""Curves as inline SVG: readable without JavaScript; with it, `page.js` shows the values under the pointer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vidiff.pages.folder import Curve
from vidiff.pages.markup import Markup, join, tag
from vidiff.pages.words import number

WIDTH, HEIGHT = 380, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 26
BINS = 160  # points of a line
DOTS = 24  # a line of fewer points shows them
WIDE = 40.0  # highest over lowest value from which the axis is logarithmic


@dataclass(frozen=True)
class Series:
    """A line.

    Args:
        label: in the legend.
        points: (step, value), steps rising.
        color: number of its color.
        floor: a dashed line in the same color, such as what real clips have.
    """

    label: str
    points: Curve
    color: int = 0
    floor: float | None = None


def binned(points: Curve, bins: int = BINS) -> list[tuple[float, float, float, float]]:
    """(step, mean, lowest, highest) of at most `bins` groups of neighbors."""
    size = max(1, math.ceil(len(points) / bins))
    out = []
    for start in range(0, len(points), size):
        steps, values = zip(*points[start : start + size])
        out.append((math.fsum(steps) / len(steps), math.fsum(values) / len(values), min(values), max(values)))
    return out


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from `low` to `high`, roughly `about` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`; with 2 and 5 between them where these are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 6)]


@dataclass(frozen=True)
class Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        value = math.log10(max(value, self.low * 1e-3)) if self.log else value
        share = (value - low) / (high - low)
        return self.start + min(max(share, -0.5), 1.5) * (self.end - self.start)


def _vertical(values: list[float]) -> Axis:
    low, high = min(values), max(values)
    log = low > 0 and high / low >= WIDE
    if log:
        low, high = low / 1.2, high * 1.2
    else:
        pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = (0.0 if 0 <= low < 0.25 * high else low - pad), high + pad
    return Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def chart(title: str, series: Sequence[Series], about: str = "") -> Markup:
    """A figure with a legend, the lines, and bands from the lowest to the highest value where points are many.

    Args:
        title: of the figure.
        series: with at least one point each.
        about: a few words below it.
    """
    lines = [(s, binned(s.points)) for s in series]
    y = _vertical([p[1] for _, line in lines for p in line] + [s.floor for s in series if s.floor is not None])
    steps = [p[0] for _, line in lines for p in line]
    x = Axis(min(steps), max(steps) if max(steps) > min(steps) else min(steps) + 1, LEFT, WIDTH - RIGHT)
    inside = [_grid(x, y), [_line(s, line, x, y) for s, line in lines], tag("g", class_="cursor")]
    spoken = "; ".join(f"{s.label} from {number(s.points[0][1])} to {number(s.points[-1][1])}" for s in series)
    svg = tag(
        "svg", *inside, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", tabindex="0", class_="chart",
        aria_label=f"{title} by generator step: {spoken}", data_x=f"{x.low:g},{x.high:g},{x.start:g},{x.end:g}",
    )  # fmt: skip
    legend = [tag("span", tag("i", class_=f"key c{s.color}"), s.label) for s in series if len(series) > 1]
    floor = [tag("span", tag("i", class_="key floor"), "floor")] if any(s.floor is not None for s in series) else []
    head = tag("figcaption", tag("strong", title), tag("span", *legend, *floor, class_="legend"))
    foot = tag("p", about, class_="small") if about else None
    return tag("figure", head, tag("div", svg, tag("output", hidden=True), class_="plot"), foot, class_="curve")


def _grid(x: Axis, y: Axis) -> Markup:
    out = []
    for value in log_ticks(y.low, y.high) if y.log else ticks(y.low, y.high):
        at = f"{y(value):.1f}"
        out.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="rule"))
        out.append(tag("text", number(value), x=LEFT - 7, y=f"{y(value) + 3.5:.1f}", class_="left"))
    for value in ticks(x.low, x.high):
        where = x(value)
        at_edge = "end" if where > WIDTH - RIGHT - 14 else "start" if where < LEFT + 8 else "middle"
        out.append(tag("text", _step(value), x=f"{where:.1f}", y=HEIGHT - 8, text_anchor=at_edge))
    return tag("g", *out, class_="grid", aria_hidden="true")


def _step(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _line(series: Series, line: list[tuple[float, float, float, float]], x: Axis, y: Axis) -> Markup:
    """The band, the floor, the line and its values for the pointer."""
    parts = []
    if any(high > low for _, _, low, high in line):
        edge = [(s, high) for s, _, _, high in line] + [(s, low) for s, _, low, _ in reversed(line)]
        parts.append(tag("polygon", points=_points(edge, x, y), class_="band"))
    if series.floor is not None:
        at = f"{y(series.floor):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="floorline"))
    means = [(step, mean) for step, mean, *_ in line]
    parts.append(
        tag(
            "polyline",
            points=_points(means, x, y),
            class_="line",
            data_label=series.label,
            data_v=" ".join(f"{step:g},{mean:.4g},{y(mean):.0f}" for step, mean in means),
        )  # fmt: skip
    )
    if len(line) <= DOTS:
        parts += [tag("circle", cx=f"{x(s):.1f}", cy=f"{y(v):.1f}", r=2.4) for s, v in means]
    return tag("g", *parts, class_=f"series c{series.color}")


def _points(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x(step):.1f},{min(max(y(value), TOP - 4), HEIGHT - BOTTOM + 4):.1f}" for step, value in points)


def ladder(rows: Sequence[tuple[str, float, str]], unit: str) -> Markup:
    """Values as bars on a logarithmic scale, the lowest on top.

    Args:
        rows: (label, value, kind), the kind is its class: `own`, `floor`, `rubbish`, `limit`.
        unit: what the value is.
    """
    rows = sorted(rows, key=lambda row: row[1])
    least = min((value for _, value, _ in rows if value > 0), default=1.0)
    most = max(max(value for _, value, _ in rows), least * 1.0001)
    out = []
    for label, value, kind in rows:
        share = math.log(max(value, least) / least) / math.log(most / least)
        bar = tag("span", tag("span", style=f"width:{4 + 96 * share:.1f}%"), class_="bar", aria_hidden="true")
        out.append(tag("li", tag("span", label, class_="label"), bar, tag("b", number(value)), class_=kind))
    return join(tag("p", f"{unit}, logarithmic, lower is better", class_="small"), tag("ol", *out, class_="ladder"))
