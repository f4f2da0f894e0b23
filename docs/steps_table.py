"""Quality against the time that a clip takes: flows at several numbers of steps beside generators of one pass.

    python docs/steps_table.py OUT DATA NAME=RUN NAME=RUN ...

DATA is the folder of videos that all were trained on (`vidiff data make` writes the embedded ones), RUN the folder of a
finished run, NAME what it is called in the table; runs of one name are seeds. The best checkpoint of each is measured
against clips of the training videos. OUT gets `table.md`, `table.json` and `steps.svg`; a run that is in there already
is not measured again.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import yaml
from figures import Axes

from vidiff.data.datamodule import ClipDataModule
from vidiff.files import write_json, write_text
from vidiff.inference.checkpoint import load_model
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.resolve import resolve_metrics

STEPS = (1, 2, 4, 16)
METRICS = ("clip_distance", "kvd_random", "motion", "flicker", "diversity", "recognizable")
SHOWN = {"clip_distance": "clip_distance", "motion": "motion", "diversity": "diversity", "recognizable": "can be named"}
CLIPS, TIMED, SEED = 256, 64, 1000
WIDE, HIGH, EDGE = 760, 430, 10  # of the figure, pixels
COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
Row = dict[str, Any]


def evaluator(folder: str) -> Evaluator:
    """Against clips of the training videos."""
    data = ClipDataModule(folder, num_workers=0, augment="none")
    data.prepare_data()
    data.setup("fit")
    clips = lambda seed: lambda: data.eval_clips("train", CLIPS, seed, TIMED)  # noqa: E731
    metrics = resolve_metrics(METRICS, num_clips=CLIPS, num_frames=data.num_frames)
    fields = {"split": "train", "seed": SEED, "frame_stride": 1}
    return Evaluator(metrics, clips(SEED), held_out=clips(SEED + 1000), fields=fields)


def measured(judge: Evaluator, name: str, run: Path, steps: int | None) -> Row:
    """One run at one number of steps: its measures, and the CPU-seconds of a clip."""
    best = run / "checkpoints" / "best.ckpt"
    model = load_model(best, "cpu", **({} if steps is None else {"sampling_steps": steps}))
    found = judge.evaluate(model.iter_samples(range(CLIPS), SEED), CLIPS)
    seconds = min(timeit.repeat(lambda: model.sample(TIMED, SEED), number=1, repeat=3, timer=time.process_time)) / TIMED
    row = {"name": name, "steps": steps or 1, "run": str(run), "seconds": seconds}
    row |= {key: value["value"] for key, value in found.items()}
    return row | {"parts": found["recognizable"]["parts"], "floor": found["clip_distance"]["floor"]}


def grouped(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """Seeds together."""
    found = defaultdict(list)
    for row in rows:
        found[row["name"], row["steps"]].append(row)
    return dict(found)


def mean(rows: list[Row], key: str) -> float:
    return sum(row[key] for row in rows) / len(rows)


def spread(rows: list[Row], key: str) -> str:
    """Mean and range of seeds."""
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return "-"
    show = (lambda v: f"{100 * v:.0f} %") if key == "recognizable" else (lambda v: f"{v:.3g}")
    center = show(sum(values) / len(values))
    return center if len(values) == 1 else f"{center} ({show(min(values))} to {show(max(values))})"


def table(rows: list[Row]) -> str:
    """Markdown."""
    head = ["", "passes", "CPU-ms a clip", *SHOWN.values(), "seeds"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for (name, steps), group in grouped(rows).items():
        cells = [name, str(steps), f"{1e3 * mean(group, 'seconds'):.0f}", *(spread(group, key) for key in SHOWN)]
        lines.append(f"| {' | '.join([*cells, str(len(group))])} |")
    return "\n".join([*lines, "", f"clip_distance of real clips to real ones: {rows[0]['floor']:.3g}", ""])


def figure(rows: list[Row]) -> str:
    """clip_distance over the CPU time of a clip, both in logarithms: a mean a point, its seeds as a bar."""
    groups = grouped(rows)
    log = lambda value: float(torch.tensor(value).log10())  # noqa: E731
    points = {key: (log(1e3 * mean(g, "seconds")), log(mean(g, "clip_distance"))) for key, g in groups.items()}
    left, right = min(x for x, _ in points.values()) - 0.1, max(x for x, _ in points.values()) + 0.55
    every = [log(row["clip_distance"]) for row in rows]
    axes = Axes(WIDE, HIGH, EDGE, EDGE, (left, right), (min(every) - 0.1, max(every) + 0.1))
    named = lambda *values: {log(value): f"{value:g}" for value in values}  # noqa: E731
    parts = axes.grid(named(1, 2, 5, 10, 20, 50, 100, 200, 500), named(0.2, 0.5, 1, 2, 5, 10, 20, 50))
    names = list(dict.fromkeys(name for name, _ in groups))
    for name in names:
        color, own = COLORS[names.index(name) % len(COLORS)], [key for key in groups if key[0] == name]
        line = " L".join(f"{axes.across(points[k][0]):.1f} {axes.up(points[k][1]):.1f}" for k in own)
        parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for key in own:
            x, y = axes.across(points[key][0]), axes.up(points[key][1])
            ends = sorted(axes.up(log(row["clip_distance"])) for row in groups[key])
            parts.append(f'<path d="M{x:.1f} {ends[0]:.1f}V{ends[-1]:.1f}" stroke="{color}" stroke-width="2"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>')
        x, y = (axis(value) for axis, value in zip((axes.across, axes.up), points[own[-1]]))
        parts.append(f'<text x="{x + 9:.0f}" y="{y + 4:.0f}" fill="{color}">{name}</text>')
    return axes.page(parts, "CPU-milliseconds a clip", "clip_distance")


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    out, judge = Path(words[0]), evaluator(words[1])
    path = out / "table.json"
    known = {(r["run"], r["steps"]): r for r in json.loads(path.read_text())["rows"]} if path.is_file() else {}
    rows = []
    for name, _, run in (word.partition("=") for word in words[2:]):
        config = yaml.safe_load((Path(run) / "config.yaml").read_text())
        many = "sampling_steps" in config["model"]["init_args"]
        for steps in STEPS if many else (None,):
            row = known.get((run, steps or 1)) or measured(judge, name, Path(run), steps)
            rows.append(row | {"name": name})
            print(rows[-1], flush=True)
            write_json(
                path, {"rows": [*rows, *(r for r in known.values() if r["run"] not in {x["run"] for x in rows})]}
            )
    write_text(out / "table.md", table(rows))
    write_text(out / "steps.svg", figure(rows))
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
