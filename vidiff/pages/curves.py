"""Which columns of metrics.csv and timing.csv stand in one chart."""

from __future__ import annotations

from collections.abc import Sequence

from vidiff.metrics.controls import FORMER, LEAD
from vidiff.pages.chart import Series, chart
from vidiff.pages.folder import Recorded, dictionary
from vidiff.pages.markup import Markup, tag

LEADS = (LEAD, FORMER)  # drawn first, in this order
PLAYERS = {"d": "discriminator", "g": "generator"}
MAIN = {  # what every run has: title -> columns and their labels
    "Losses": {"train/d_total": "discriminator", "train/g_total": "generator"},
    "Logits": {"train/d_real_logit": "real", "train/d_fake_logit": "generated"},
    "Gradient norms": {"train/d_grad_norm": "discriminator", "train/g_grad_norm": "generator"},
    "Clips per second": {"time/clips_per_s": "clips/s"},
}
MORE = {
    "Learning rates": {"train/lr_d": "discriminator", "train/lr_g": "generator"},
    "Share of time that waits for data": {"time/data_wait_frac": "share"},
    "CPU seconds a clip": {"time/cpu_s_per_clip": "seconds"},
}


def charts(runs: Sequence[Recorded]) -> tuple[list[Markup], list[Markup]]:
    """The charts of one run or of several over each other: those that every reader wants, and further ones."""
    return _of_one(runs[0]) if len(runs) == 1 else _of_several(runs)


def directions_of(columns: Sequence[str]) -> list[str]:
    """Names of the directions of a translation, as the columns have them: `a2b`."""
    starts = tuple(f"val/{lead}_" for lead in LEADS)
    found = [column.removeprefix(s) for column in columns for s in starts if column.startswith(s)]
    return list(dict.fromkeys(found))


def _measures(run: Recorded) -> dict[str, dict[str, str]]:
    """Title -> columns and labels of what is measured at evaluations; the directions of a translation share a chart."""
    directions, out = directions_of(list(run.curves)), {}
    for column in run.curves:
        kind, _, name = column.partition("/")
        if kind not in ("val", "test"):
            continue
        direction = next((d for d in directions if name.endswith(f"_{d}")), "")
        base = name.removesuffix(f"_{direction}") if direction else name
        out.setdefault(base, {})[column] = direction or ("mean" if directions else base)
    order = sorted(out, key=lambda base: (*(base != lead for lead in LEADS), base))
    return {base: dict(sorted(out[base].items())) for base in order}


def _floor(run: Recorded, column: str) -> float | None:
    value = dictionary(run.metrics.get(column.partition("/")[2])).get("floor")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _drawn(run: Recorded, title: str, columns: dict[str, str]) -> Markup | None:
    there = {column: label for column, label in columns.items() if run.curves.get(column)}
    lines = [Series(label, run.curves[c], i, _floor(run, c)) for i, (c, label) in enumerate(there.items())]
    return chart(title, lines[:8]) if lines else None


def _of_one(run: Recorded) -> tuple[list[Markup], list[Markup]]:
    main, more = _measures(run) | MAIN, {}
    shown = {column for group in (*main.values(), *MORE.values()) for column in group}
    for column in run.curves:
        name = column.partition("/")[2]
        player = PLAYERS.get(name.partition("_")[0])
        if column in shown:
            continue
        title = f"Terms of the {player}" if player and "_" in name else name
        more.setdefault(title, {})[column] = (name[2:] if player else name).replace("_", " ")
    more |= MORE
    return [[m for t, c in group.items() if (m := _drawn(run, t, c))] for group in (main, more)]


def _of_several(runs: Sequence[Recorded]) -> tuple[list[Markup], list[Markup]]:
    """One chart a column, a line a run."""
    columns = {column: None for run in runs for column in run.curves}
    directions = {d for run in runs for d in directions_of(list(run.curves))}
    first, titles = [], {}
    for title, group in (MAIN | MORE).items():
        for column, label in group.items():
            titles[column] = f"{title}: {label}" if len(group) > 1 else title
            first += [column] if title in MAIN else []
    measures = [c for c in columns if c.split("/")[0] in ("val", "test")]
    plain = [c for c in measures if not any(c.endswith(f"_{d}") for d in directions)]
    order = sorted(plain, key=lambda c: (*(c != f"val/{lead}" for lead in LEADS), c)) + [
        c for c in first if c in columns
    ]
    rest = [c for c in columns if c not in order]

    def drawn(column: str) -> Markup:
        lines = [Series(r.name, r.curves[column], i) for i, r in enumerate(runs) if r.curves.get(column)]
        return chart(titles.get(column, column.partition("/")[2]), lines)

    return [drawn(c) for c in order], [drawn(c) for c in rest]


def gallery(figures: Sequence[Markup]) -> Markup:
    """Charts in as many columns as there is room for."""
    return tag("div", *figures, class_="charts")
