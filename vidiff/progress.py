"""How far a long loop is: a bar on a terminal, plain lines now and then without one. All on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
BAR_AFTER_S = 1.0  # what is done sooner needs no bar
# A log file is no terminal: it gets a line every ten seconds, in what takes long one a percent.
LINE_EVERY_S, LINE_EVERY_SHARE, LINE_AT_MOST_S = 10.0, 0.01, 300.0


def on_terminal() -> bool:
    """Whether stderr is a terminal that can move its cursor: a bar may be drawn."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def duration(seconds: float) -> str:
    """Time left, no finer than it can be known: `40 s`, `12 min`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


class Lines:
    """When something that takes long is due for its next line in a log."""

    def __init__(self):
        self.start = self._last = time.monotonic()

    def due(self, left_s: float | None) -> bool:
        """Whether to write a line now; if so, the time until the next one begins.

        Args:
            left_s: seconds that are left, None where nobody knows.
        """
        now = time.monotonic()
        whole = now - self.start + (left_s or 0.0)
        if now - self._last < min(max(LINE_EVERY_S, LINE_EVERY_SHARE * whole), LINE_AT_MOST_S):
            return False
        self._last = now
        return True


def say(text: str) -> None:
    """One line that is no error."""
    print(f"vidiff: {text}", file=sys.stderr, flush=True)


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` and show how many are done.

    Args:
        items: anything to iterate over.
        title: what is done, in a word or two.
        total: number of items; default `len(items)` where they have a length.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    return (_bar if on_terminal() else _lines)(items, title, total)


def in_threads(task: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    """`[task(i) for i in items]` in a few threads, for decoders and hashing, which release the GIL; see `track`."""
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        try:
            return list(track(pool.map(task, items), title, len(items)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _bar(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    start, bar = time.monotonic(), None
    try:
        for done, item in enumerate(items, 1):
            yield item
            if bar is None and time.monotonic() - start > BAR_AFTER_S:
                bar = _rich_bar()
                row = bar.add_task(title, total=total)
                bar.start()
            if bar is not None:
                bar.update(row, completed=done)
    finally:
        if bar is not None:
            bar.stop()


def _rich_bar():
    """A bar on stderr that disappears when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # What is printed meanwhile goes above the bar, but not what goes into a file or a pipe.
    piped = dict(redirect_stdout=sys.stdout.isatty())
    return Progress(*columns, console=Console(stderr=True), transient=True, **piped)


def _lines(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    lines = Lines()
    for done, item in enumerate(items, 1):
        yield item
        known = total and done <= total  # of a video it may be an estimate
        left = (time.monotonic() - lines.start) / done * (total - done) if known else None
        if lines.due(left):
            say(
                f"{title}: {done}"
                + (f" of {total}, {100 * done / total:.0f} %, {duration(left)} left" if known else "")
            )
