"""A measure over the CPU time of training: `python docs/training_curves.py OUT.svg METRIC NAME=RUN,RUN ...`

Runs of one NAME are seeds: a line each, in one color. The time is what timing.csv of the run's folder has, evaluations
included; the measure is `val/METRIC` of its metrics.csv, on a logarithmic axis. Printed are the last and the least
value of each run.
"""

from __future__ import annotations

import math
import sys
from itertools import accumulate
from pathlib import Path

from figures import Axes

from vidiff.files import read_yaml, write_text
from vidiff.pages.folder import Curve, read_run

WIDE, HIGH, RIGHT, TOP = 760, 400, 190, 12  # of the figure, pixels
COLORS = ("#4269d0", "#ff725c", "#3ca951", "#efb118", "#a463f2")


def over_time(run: Path, metric: str) -> Curve:
    """(CPU-seconds of training, value) of each evaluation."""
    batch = read_yaml(run / "config.yaml")["data"]["init_args"]["batch_size"]
    curves = read_run(run).curves
    costs = curves["time/cpu_s_per_clip"]
    steps = [0, *(step for step, _ in costs)]
    spent = [0.0, *accumulate(batch * cost * (b - a) for (_, cost), a, b in zip(costs, steps, steps[1:]))]
    found = []
    for step, value in curves[f"val/{metric}"]:
        last = max(i for i, known in enumerate(steps) if known <= step)
        rate = batch * costs[min(last, len(costs) - 1)][1]
        found.append((spent[last] + (step - steps[last]) * rate, value))
    return found


def figure(lines: dict[str, list[Curve]], metric: str) -> str:
    """SVG of all lines."""
    points = [p for group in lines.values() for line in group for p in line]
    most = max(x for x, _ in points)
    low, high = (math.log10(f(y for _, y in points)) + d for f, d in ((min, -0.05), (max, 0.05)))
    axes = Axes(WIDE, HIGH, RIGHT, TOP, (0, most), (low, high))
    rows = {math.log10(value): f"{value:g}" for value in (0.5, 1, 2, 5, 10, 20, 50, 100, 200)}
    parts = axes.grid({x: str(x) for x in range(0, int(most) + 1, 100)}, rows)
    for i, (name, group) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        for line in group:
            places = [(axes.across(x), axes.up(math.log10(y))) for x, y in line]
            way = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path d="M{way}" fill="none" stroke="{color}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in places]
        y = TOP + 12 + 22 * i
        parts.append(f'<path d="M{WIDE - RIGHT + 12} {y - 4}h22" stroke="{color}" stroke-width="3"/>')
        parts.append(f'<text x="{WIDE - RIGHT + 40}" y="{y}">{name}</text>')
    return axes.page(parts, "CPU-seconds of training", metric)


def main(words: list[str]) -> None:
    out, metric, lines = Path(words[0]), words[1], {}
    for name, _, runs in (word.partition("=") for word in words[2:]):
        lines[name] = [over_time(Path(run), metric) for run in runs.split(",")]
        for line in lines[name]:
            print(f"{name}: last {line[-1][1]:.3g}, least {min(y for _, y in line):.3g}, {line[-1][0]:.0f} CPU-s")
    write_text(out, figure(lines, metric))


if __name__ == "__main__":
    main(sys.argv[1:])
