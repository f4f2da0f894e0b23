"""The page itself: its parts in their order, one file without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from vidiff import __version__
from vidiff.doctor import examine
from vidiff.errors import RunError
from vidiff.files import write_text
from vidiff.pages import curves, tables
from vidiff.pages.clips import Shelf, newest_samples, over_time
from vidiff.pages.folder import Recorded, read_runs
from vidiff.pages.further import as_line, commands
from vidiff.pages.markup import Markup, join, tag
from vidiff.pages.words import count, data_set, family, lead, verdict

PAGE = "report.html"
HERE = Path(__file__).parent
LEVELS = {"bad": ("bad", "Wrong"), "note": ("open", "Note"), "good": ("good", "Good")}  # of the doctor's findings
UNREADABLE = (
    RunError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
)  # of files that another version wrote


def write_page(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write one HTML file that shows runs, finished or not.

    Args:
        runs: 1 to 8 run folders.
        out: the file; default `report.html` in the folder of a single run, or here of several.

    Returns:
        The file.

    Raises:
        UsageError: a folder that is no run, or a place that cannot be written.
    """
    found = read_runs(runs)
    path = out or (runs[0] / PAGE if len(runs) == 1 else Path(PAGE))
    write_text(path, _document(found))
    return path


def _document(runs: list[Recorded]) -> str:
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    policy += f"script-src 'sha256-{digest}'"  # nothing that a name or a setting smuggles in would run
    title = f"{family(runs[0])} on {data_set(runs[0])}" if len(runs) == 1 else f"{len(runs)} runs side by side"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup((HERE / "page.css").read_text(encoding="utf-8"))),
    )
    body = (_one if len(runs) == 1 else _several)(runs, title)
    return f"<!doctype html>\n{tag('html', head, tag('body', body, tag('script', Markup(script))), lang='en')}\n"


class Parts:
    """Sections of a page; one that cannot be made is left out, and why is said at the end."""

    def __init__(self, missing: list[str]):
        self.sections: list[Markup] = []
        self.missing = list(missing)

    def add(self, title: str, make: Callable[[], Markup | None], note: str = "") -> None:
        try:
            inner = make()
        except UNREADABLE as error:
            self.missing.append(f"{title.lower()} ({type(error).__name__} in the run's files)")
            return
        if inner:
            lines = [tag("h2", title), tag("p", note, class_="note") if note else None, inner]
            self.sections.append(tag("section", *lines))

    def footer(self) -> Markup:
        made = f"Made by vidiff {__version__} on {time.strftime('%Y-%m-%d at %H:%M')}."
        left = f" Left out: {'; '.join(dict.fromkeys(self.missing))}." if self.missing else ""
        return tag("footer", tag("p", made + left))


def _top(title: str, eyebrow: str, *below: Markup | None) -> Markup:
    pause = tag("button", "Pause videos", type="button", class_="pause", hidden=True)
    return tag("header", tag("p", eyebrow, class_="eyebrow"), tag("h1", title), *below, pause)


def _verdict(run: Recorded) -> Markup:
    try:
        kind, word, text = verdict(run)
    except UNREADABLE:
        kind, word, text = "open", "No verdict", "report.json is not what this version reads."
    return tag("p", tag("strong", word, class_="chip"), " ", text, class_=f"verdict {kind}")


def _one(runs: list[Recorded], title: str) -> Markup:
    (run,) = runs
    parts = Parts(run.missing)
    shelf = Shelf(len(run.walls) + 1)
    parts.add("Clips", lambda: _walls(run, shelf, parts), _about_walls(run))
    parts.add("Measures", lambda: tables.measures(run) if run.metrics or run.directions else None)
    parts.add("What the doctor says", lambda: _findings(run))
    parts.add("Over the training", lambda: _over_time(run, shelf))
    parts.add("Curves", lambda: _curves(runs))
    parts.add("Go on", lambda: _commands(run))
    parts.add("The run", lambda: _facts(run))
    parts.add("Configuration", lambda: _configuration(run))
    top = _top(title, f"Run {run.name}", tag("p", lead(run), class_="lead"), _verdict(run))
    return join(top, tag("main", *parts.sections), parts.footer())


def _several(runs: list[Recorded], title: str) -> Markup:
    parts = Parts([f"{run.name}: {text}" for run in runs for text in run.missing])
    shelf = Shelf(sum(max(1, len(run.walls)) for run in runs))
    parts.add("Clips", lambda: _columns(runs, shelf, parts))
    parts.add("Measures", lambda: tables.compared_measures(runs) if any(run.metrics for run in runs) else None)
    parts.add("What the doctor says", lambda: join([[tag("h3", run.name), _findings(run)] for run in runs]))
    parts.add("Curves", lambda: _curves(runs))
    parts.add("The runs", lambda: tables.compared_facts(runs))
    parts.add("Differences of the configurations", lambda: tables.differences(runs))
    items = [tag("li", tag("i", class_=f"key c{i}"), tag("b", r.name), " ", lead(r)) for i, r in enumerate(runs)]
    return join(_top(title, "vidiff", tag("ul", *items, class_="runs")), tag("main", *parts.sections), parts.footer())


# ---- videos


def _about_walls(run: Recorded) -> str:
    if not run.walls:
        return "Samples of the newest evaluation."
    step = next((w.get("step") for w in run.walls), None)
    of = f" of step {count(step)}" if isinstance(step, int) else ""
    return f"Not chosen: the first of a seed that no checkpoint was selected by, from the state{of}."


def _walls(run: Recorded, shelf: Shelf, parts: Parts) -> Markup | None:
    figures = []
    for entry in run.walls:
        title = str(entry.get("title", ""))
        columns = [str(c) for c in entry.get("columns") or []]
        about = f"{title}: {entry.get('clips')} clips" + (f", in columns {', '.join(columns)}" if columns else "")
        video = shelf.add(run.dir / "samples" / str(entry["file"]), about)
        if video is None:
            parts.missing.append(f"{entry['file']} (damaged or too large)")
            continue
        labels = tag("div", *[tag("span", c) for c in columns], class_="labels") if columns else None
        caption = tag("figcaption", tag("strong", title), labels)
        figures.append(tag("figure", caption, video, class_="rows" if columns else None))
    if figures:
        return tag("div", *figures, class_="walls")
    return _newest(run, shelf, parts)


def _newest(run: Recorded, shelf: Shelf, parts: Parts) -> Markup | None:
    """What a run without walls has: the video of its newest evaluation."""
    try:
        found = newest_samples(run)
    except RunError:
        found = None
    video = shelf.add_clip(found[1], f"{found[0]}, samples of {run.name}") if found else None
    if video is None:
        parts.missing.append("the clips (no readable video in samples/)")
        return None
    return tag("div", tag("figure", tag("figcaption", tag("strong", found[0])), video), class_="walls")


def _columns(runs: list[Recorded], shelf: Shelf, parts: Parts) -> Markup:
    """A column a run: its verdict above its videos."""
    out = []
    for i, run in enumerate(runs):
        walls = sorted(run.walls, key=lambda entry: entry.get("title") == "Real")  # generated clips side by side
        shown = replace(run, walls=walls)
        head = tag("h3", tag("i", class_=f"key c{i}"), run.name)
        out.append(tag("div", head, _verdict(run), _walls(shown, shelf, parts), class_="column"))
    return tag("div", *out, class_="columns")


def _over_time(run: Recorded, shelf: Shelf) -> Markup | None:
    found = over_time(run)
    if found is None:
        return None
    clip, labels = found
    note = tag("p", f"The same samples at several steps; rows from top to bottom: {', '.join(labels)}.", class_="note")
    video = shelf.add_clip(clip, f"rows from top to bottom: {', '.join(labels)}")
    names = tag("div", *[tag("span", label) for label in labels], class_="rownames", aria_hidden="true")
    return join(note, tag("figure", tag("div", names, video, class_="overtime"))) if video else None


# ---- the rest


def _findings(run: Recorded) -> Markup:
    items = []
    for finding in examine(run.dir):
        kind, word = LEVELS[finding.level]
        head = tag("p", tag("span", word, class_="chip"), " ", tag("b", finding.title))
        advice = [tag("p", _with_code(text)) for text in (finding.evidence, finding.advice) if text]
        items.append(tag("li", head, *advice, class_=kind))
    return tag("ul", *items, class_="findings")


def _curves(runs: list[Recorded]) -> Markup | None:
    main, more = curves.charts(runs)
    if not main and not more:
        return None
    summary = tag("summary", f"{len(more)} more: terms of the losses, learning rates, waiting")
    return join(curves.gallery(main), tag("details", summary, curves.gallery(more)) if more else None)


def _with_code(text: str) -> Markup:
    """Text whose words between backticks are code."""
    return join(*[tag("code", part) if i % 2 else part for i, part in enumerate(text.split("`"))])


def _commands(run: Recorded) -> Markup | None:
    items = []
    for what, words in commands(run):
        copy = tag("button", "Copy", type="button", class_="copy", hidden=True, aria_label=f"Copy: {what}")
        items.append(tag("li", tag("p", what), tag("div", tag("pre", tag("code", as_line(words))), copy)))
    return tag("ul", *items, class_="commands") if items else None


def _facts(run: Recorded) -> Markup:
    rows = [tag("div", tag("dt", name), tag("dd", text)) for name, text in tables.facts(run).items()]
    return tag("dl", *rows)


def _configuration(run: Recorded) -> Markup | None:
    if not run.config:
        return None
    text = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
    return tag("details", tag("summary", "All settings, as config.yaml has them"), tag("pre", tag("code", text)))
