"""Tables of results as Markdown, LaTeX and HTML, and all rows with their runs as CSV."""

from __future__ import annotations

import csv as csv_writer
import io
from collections.abc import Sequence
from statistics import fmean, stdev

from vidiff.bench.rows import Row
from vidiff.bench.table import Cell, Table, badness, comparisons
from vidiff.pages.markup import tag
from vidiff.statistics import t_interval

SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
COLUMNS = (
    *("data_set", "family", "metric", "seeds", "mean", "sd", "low", "high", "worst", "worst_run", "floor", "se"),
    *("protocol_hash", "runs", "seeds_used", "values", "config_hashes", "commits"),
)


def markdown(tables: Sequence[Table]) -> str:
    """A heading, a table and its notes each."""
    parts = []
    for table in tables:
        lines = ["| " + " | ".join(table.head) + " |", "|" + " --- |" * len(table.head)]
        lines += ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in table.rows]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines) + ("\n\n" + table.notes if table.notes else ""))
    return "\n\n".join(parts) + "\n"


def _markdown(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    return f"**{text}**" if cell.bold and text else text


def tex(tables: Sequence[Table]) -> str:
    """`tabular` environments with booktabs' rules, for `\\input` in a paper."""
    parts = []
    for table in tables:
        lines = [f"% {table.title}", r"\begin{tabular}{l" + "r" * (len(table.head) - 1) + "}", r"\toprule"]
        lines += [" & ".join(map(_escaped, table.head)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in table.rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [f"% {table.notes}"] if table.notes else []
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(c, c) for c in text)


def _tex(cell: Cell) -> str:
    inner, slanted = cell.text, cell.text.startswith("*") and cell.text.endswith("*")
    text = _escaped(inner.strip("*") if slanted else inner)
    return rf"\textbf{{{text}}}" if cell.bold and text else rf"\textit{{{text}}}" if slanted else text


def html(tables: Sequence[Table]) -> str:
    """A page of its own; pointing at a cell names the runs that it is of."""
    parts = []
    for table in tables:
        head = tag("tr", *[tag("th", text, scope="col") for text in table.head])
        body = [tag("tr", *[_html(cell, i == 0) for i, cell in enumerate(row)]) for row in table.rows]
        parts.append(tag("table", tag("caption", table.title), tag("thead", head), tag("tbody", *body)))
        parts += [tag("p", table.notes)] if table.notes else []
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "table{border-collapse:collapse;margin:2rem 0 .5rem;display:block;overflow-x:auto}"
        "caption{font-weight:600;text-align:left;padding:.4rem 0}"
        "th,td{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}"
        "th:first-child{text-align:left}.leak{color:#999}p{color:#555;font-size:.9rem}"
    )
    title = tables[0].title.split(":")[0] if tables else ""
    top = tag("head", tag("meta", charset="utf-8"), tag("title", f"Results: {title}"), tag("style", style))
    return "<!doctype html>\n" + tag("html", top, tag("body", *parts), lang="en") + "\n"


def _html(cell: Cell, first: bool) -> str:
    slanted = cell.text.startswith("*") and cell.text.endswith("*") and len(cell.text) > 1
    text = tag("em", cell.text.strip("*")) if slanted else tag("strong", cell.text) if cell.bold else cell.text
    more = dict(title=", ".join(cell.runs) or None, class_="leak" if cell.leak else None)
    return tag("th" if first else "td", text, scope="row" if first else None, **more)


def csv(rows: Sequence[Row]) -> str:
    """Every metric of every family: mean, deviation, interval, worst seed, its runs seed by seed; then the tests."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data_set"], row["family"], row["metric"]), []).append(row)
    text = io.StringIO()
    writer = csv_writer.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for key, group in groups.items():
        writer.writerow([*key, *_summary(key[2], group)])
    for data_set in dict.fromkeys(row["data_set"] for row in rows):
        for n, c in enumerate(comparisons([row for row in rows if row["data_set"] == data_set])):
            if n == 0:
                writer.writerow([])
                writer.writerow(["data_set", *c._fields])
            writer.writerow([data_set, *("" if value is None else value for value in c)])
    return text.getvalue()


def _summary(metric: str, group: Sequence[Row]) -> list:
    known = [row for row in group if row["value"] is not None]
    values = [row["value"] for row in known]
    interval = t_interval(values) if values else (None,) * 3
    deviation = stdev(values) if len(values) > 1 else None
    worst = max(known, key=lambda r: badness(metric, r["value"])) if known else {}
    means = [fmean(v) if (v := [row[k] for row in group if row.get(k) is not None]) else None for k in ("floor", "se")]
    numbers = [interval[0], deviation, interval[1], interval[2], worst.get("value"), worst.get("run"), *means]
    listed = [" ".join(str(row[k]) for row in group) for k in ("run", "seed", "value", "config_hash")]
    commits = " ".join(dict.fromkeys(str(row.get("git_commit")) for row in group))
    return [len(known), *("" if n is None else n for n in numbers), group[0]["protocol_hash"], *listed, commits]
