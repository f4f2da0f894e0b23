"""Rows of results -> tables that can be read: at most seven columns, floor and controls, intervals over seeds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from vidiff.bench.rows import Row
from vidiff.errors import UsageError
from vidiff.metrics.controls import CONTROLS, lead_of, standing
from vidiff.metrics.protocol import check_comparable
from vidiff.statistics import Comparison, compare, t_interval, winners

MOST_COLUMNS = 7
RATIOS = ("motion", "flicker", "diversity")  # 1 is right
HIGHER = ("recognizable", "precision", "recall", "density", "coverage", "psnr", "ssim", "target_accuracy", "cycle_psnr")
SHOWN = ("motion", "diversity", "psnr_gain")  # beside the lead, where nothing else is asked for


class Cell(NamedTuple):
    """What is shown, which runs it is of, and whether one of them was trained against the network that measures."""

    text: str
    runs: tuple[str, ...] = ()
    bold: bool = False
    leak: bool = False


class Table(NamedTuple):
    """A title, the first row, the other ones, and what has to be said below."""

    title: str
    head: list[str]
    rows: list[list[Cell]]
    notes: str = ""


def number(value: float | None, digits: int = 3) -> str:
    """Three digits of a value, thousands and more without an exponent; `n/a` where there is none."""
    if value is None:
        return "n/a"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def badness(metric: str, value: float) -> float:
    """Less is better: of ratios the distance to 1, of shares and gains the negative."""
    if metric.split("_a2")[0] in RATIOS:
        return abs(value - 1)
    return -value if metric.startswith(HIGHER) else value


def check_rows(rows: Sequence[Row]) -> None:
    """Refuse what cannot stand side by side.

    Raises:
        UsageError: no rows; values of one metric and data set with different protocols, or two of the same run.
    """
    if not rows:
        raise UsageError("no results to tabulate")
    protocols: dict[Hashable, list[dict]] = {}
    seen: dict[Hashable, Row] = {}
    for row in rows:
        protocols.setdefault((row["data_set"], row["metric"]), []).append(row["protocol"])
        key = (row["data_set"], row["family"], row["seed"], row["metric"])
        if (other := seen.setdefault(key, row)) is not row:
            raise UsageError(
                f"{row['run']}: two results of {row['metric']} for {row['family']}, seed {row['seed']}: of the "
                f"configurations {other['config_hash']} and {row['config_hash']}; give one of them"
            )
    for records in protocols.values():
        check_comparable(records)


def leads(rows: Sequence[Row]) -> list[str]:
    """The metrics that families are compared by: the leading one, of a translation each direction's."""
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lead = lead_of(metrics)
    return [m for m in metrics if m == lead or m.startswith(f"{lead}_")] or metrics[:1]


def tables(rows: Sequence[Row], metrics: Sequence[str] = ()) -> list[Table]:
    """For each data set: how good, how dear, and what the comparison of the families says.

    Args:
        rows: of runs whose protocols are equal.
        metrics: shown beside the leading one, as many as have room; of a translation without `_a2b`, or with it.

    Raises:
        UsageError: the rows cannot stand side by side, or none has such a metric.
    """
    check_rows(rows)
    known = list(dict.fromkeys(row["metric"] for row in rows))
    if odd := [m for m in metrics if m not in known and not any(k.startswith(f"{m}_") for k in known)]:
        raise UsageError(f"--metrics: no result of {odd[0]!r}; there are: {', '.join(known)}")
    out = []
    for data_set in dict.fromkeys(row["data_set"] for row in rows):
        mine = [row for row in rows if row["data_set"] == data_set]
        found = comparisons(mine)
        out += [_quality(data_set, mine, lead, metrics, winners(found)) for lead in leads(mine)]
        out += [_cost(data_set, mine), *([_compared(data_set, mine, found)] if found else [])]
    return out


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Best first, by the mean of what leads."""
    lead, out = leads(rows), {}
    for row in rows:
        out.setdefault(row["family"], []).append(row)

    def key(family: str) -> float:
        values = [
            badness(r["metric"], r["value"]) for r in out[family] if r["metric"] in lead and r["value"] is not None
        ]
        return fmean(values) if values else float("inf")

    return {family: out[family] for family in sorted(out, key=key)}


def _known(rows: Sequence[Row], metric: str) -> list[Row]:
    return [row for row in rows if row["metric"] == metric and row["value"] is not None]


def _cell(text: str, rows: Sequence[Row]) -> Cell:
    """Of these rows; in brackets where it must not be gone by."""
    leak = any(row.get("leak") for row in rows)
    return Cell(f"({text}) †" if leak else text, tuple(row["run"] for row in rows), leak=leak)


def spread(rows: Sequence[Row], metric: str) -> Cell:
    """Mean and 95 % interval over seeds of one family's metric."""
    if not (mine := _known(rows, metric)):
        return Cell("n/a")
    mean, low, high = t_interval([row["value"] for row in mine])
    return _cell(number(mean) if low is None else f"{number(mean)} [{number(low)}, {number(high)}]", mine)


def worst(rows: Sequence[Row], metric: str) -> Cell:
    """The worst seed's value."""
    if not (mine := _known(rows, metric)):
        return Cell("n/a")
    row = max(mine, key=lambda r: badness(metric, r["value"]))
    return _cell(number(row["value"]), [row])


def _quality(data_set: str, rows: Sequence[Row], lead: str, asked: Sequence[str], bold: set[str]) -> Table:
    """By one leading metric: of a translation, one of its directions."""
    direction = lead.removeprefix(lead_of([row["metric"] for row in rows]))  # "", or `_a2b`
    mine = [row for row in rows if row["metric"].endswith(direction)]
    known = list(dict.fromkeys(row["metric"] for row in mine))
    wanted = [m for a in asked for m in (a, a + direction) if m in known] or [m for m in known if m.startswith(SHOWN)]
    more = [m for m in dict.fromkeys(wanted) if m != lead][: MOST_COLUMNS - 5]
    head = ["", "seeds", *[m.removesuffix(direction) for m in (lead, "worst", *more)], "behind"]
    body = []
    for family, group in _families(rows).items():
        ahead = family in bold
        cells = [Cell(family, bold=ahead), Cell(str(len({row["seed"] for row in group})))]
        cells += [spread(group, lead)._replace(bold=ahead), worst(group, lead), *[spread(group, m) for m in more]]
        body.append([*cells, _behind(group, lead)])
    for name, label in _references(mine):
        values = [_reference(mine, name, m) if m else Cell("") for m in (lead, "", *more)]
        body.append([Cell(f"*{label}*"), Cell(""), *values, Cell("")])
    title = f"{data_set}{direction.replace('_', ', ')}: how good"
    return Table(title, head, body, _made([row for row in mine if row["metric"] == lead], _leaks(mine)))


def _leaks(rows: Sequence[Row]) -> str:
    """What must not be gone by, and why."""
    found = dict.fromkeys((row["metric"], row["family"], row["leak"]) for row in rows if row.get("leak"))
    return "".join(f" † {metric} of {family}: {why}." for metric, family, why in found)


def _references(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The floor, and the controls that are the same for all."""
    there = {name for row in rows for name in row["controls"]}
    return [("", "real against real"), *[(c.name, c.label) for c in CONTROLS if c.name in there]]


def _reference(rows: Sequence[Row], name: str, metric: str) -> Cell:
    """Mean of a control, "" of the floor; `untrained` is each run's own, so of it the range."""
    mine = [row for row in rows if row["metric"] == metric]
    values = [v for row in mine if (v := row["controls"].get(name) if name else row["floor"]) is not None]
    if not values:
        return Cell("")
    low, high = number(min(values)), number(max(values))
    if name == "untrained" and low != high:
        return Cell(f"{low} to {high}")
    return Cell(number(fmean(values)), tuple(row["run"] for row in mine))


def _behind(group: Sequence[Row], lead: str) -> Cell:
    """Controls that any of the runs is behind; what every model must be ahead of is named loudly."""
    pairs = [(row["value"], row["controls"]) for row in group if row["metric"] == lead]
    ahead, behind = standing(pairs)
    if not ahead and not behind:
        return Cell("n/a")
    names = [c.label.upper() if c.shows == "rubbish" else c.label for c in behind]
    return Cell(", ".join(names) or "none", tuple(row["run"] for row in group if row["metric"] == lead))


def _cost(data_set: str, rows: Sequence[Row]) -> Table:
    head = ["", "CPU-s", "GPU-s", "clips seen", "ms a clip sampled", "peak MiB", "parameters G / D"]
    body = []
    for family, group in _families(rows).items():
        runs = list({row["run"]: row for row in group}.values())
        names = tuple(row["run"] for row in runs)

        def mean(key: str, times: float = 1.0, runs: list[Row] = runs) -> str:
            values = [row["cost"].get(key) for row in runs]
            known = [v for v in values if v is not None]
            return number(times * fmean(known)) if known else "n/a"

        parameters = runs[0]["cost"].get("parameters") or {}
        sizes = " / ".join(f"{parameters[p]:,}" for p in ("g", "d") if p in parameters)
        cells = [mean("cpu_seconds"), mean("gpu_seconds"), mean("clips_seen"), mean("sampling_s_per_clip", 1000)]
        body.append([Cell(family), *[Cell(text, names) for text in (*cells, mean("peak_memory_mb"), sizes)]])
    return Table(f"{data_set}: what a run took", head, body)


def comparisons(rows: Sequence[Row]) -> list[Comparison]:
    """Families in pairs over (data set, seed), by what leads; one that failed has no value there."""
    lead, values = leads(rows), {}
    for row in rows:
        if row["metric"] in lead and row["value"] is not None and not row.get("leak"):
            pair = (row["data_set"], row["seed"])
            values.setdefault(row["family"], {}).setdefault(pair, []).append(row["value"])
    means = {f: {p: fmean(v) for p, v in pairs.items() if len(v) == len(lead)} for f, pairs in values.items()}
    common = {f: pairs for f, pairs in means.items() if pairs}
    if len(common) < 2 or not set.intersection(*map(set, common.values())):
        return []
    return compare(common)


def _compared(data_set: str, rows: Sequence[Row], found: Sequence[Comparison]) -> Table:
    """The family with the lowest mean against every other; the correction is over all pairs of families."""
    first = next(iter(_families(rows)))
    head = [f"{first} against", "pairs", "difference", "effect", "lower in", "p (Holm)", "pairs needed"]
    body = []
    for c in found:
        if first not in (c.a, c.b):
            continue
        sign, other = (1, c.b) if c.a == first else (-1, c.a)
        ends = [] if c.low is None else sorted((sign * c.low, sign * c.high))
        between = f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
        wins = c.wins if sign == 1 else 1 - c.wins
        needed = "n/a" if c.pairs < 2 else "more than 1,000" if c.needed is None else str(c.needed)
        texts = [
            other,
            str(c.pairs),
            number(sign * c.difference) + between,
            number(sign * c.effect if c.pairs > 1 else None, 2),
        ]
        body.append([Cell(t) for t in (*texts, f"{wins:.0%}", f"{c.p:.2g} ({c.corrected:.2g})", needed)])
    passed = sorted(winners(found))
    verdict = (
        f"{passed[0]} is ahead of all others." if passed else "No family is ahead of all others by the corrected test."
    )
    notes = (
        f"Paired over data set and seed by {' and '.join(leads(rows))}, exact sign-flip test, corrected over "
        f"{len(found)} comparisons. {verdict}"
    )
    return Table(f"{data_set}: {first} against the others", head, body, notes)


def _made(rows: Sequence[Row], more: str = "") -> str:
    """What the table was made with, for whoever wants to make it again; `more` follows.

    Args:
        rows: of the leading metric.
    """

    def all_of(what: Any) -> str:
        return ", ".join(dict.fromkeys(str(w) for row in rows if (w := what(row))))

    clips = all_of(lambda r: r["protocol"].get("n_fake"))
    parts = [f"mean [95 % interval over seeds] of {clips} clips a run"]
    errors = [row["se"] for row in rows if row.get("se") is not None]
    if errors:
        parts.append(
            f"standard error of one value by the choice of clips {number(min(errors), 2)} to {number(max(errors), 2)}"
        )
    parts.append(f"protocol {', '.join(dict.fromkeys(row['protocol_hash'] for row in rows))}")
    for label, what in (
        ("commit", lambda r: (r.get("git_commit") or "")[:12]),
        ("made on", lambda r: r.get("date")),
        ("hardware", lambda r: (r.get("hardware") or {}).get("gpu") or (r.get("hardware") or {}).get("cpu")),
    ):
        parts += [f"{label} {text}"] if (text := all_of(what)) else []
    return "; ".join(parts) + "." + more
