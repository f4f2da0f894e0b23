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
LINE_EVERY_S = 30.0  # a log file is no terminal: it gets few lines


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
    return (_bar if sys.stderr.isatty() else _lines)(items, title, total)


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
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _lines(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > LINE_EVERY_S:
            left = f" of {total}, {(now - start) / done * (total - done):.0f} s left" if total else ""
            say(f"{title}: {done}{left}")
            last = now
