"""Decoders a few frames ahead, and encoders a few behind, in threads of their own; the rest stays in this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
POLL_S = 0.1  # how soon a thread that waits notices that the other one has ended


class _Over(BaseException):
    """Raised where a thread asks for, or hands over, what is not wanted any more; nobody catches it by chance."""


class _Belt(Iterator[T]):
    """Items between two threads, a few at once, until one of them says that it is over."""

    def __init__(self, most: int):
        self.waiting: queue.Queue = queue.Queue(most)
        self.over = threading.Event()
        self.ended = False

    def put(self, kind: str, value: object = None) -> None:
        self._insist(lambda: self.waiting.put((kind, value), timeout=POLL_S), queue.Full)

    def __next__(self) -> T:
        if self.ended:  # whoever asks again after the end hears the same, as of any iterator
            raise StopIteration
        kind, value = self._insist(lambda: self.waiting.get(timeout=POLL_S), queue.Empty)
        if kind == "item":
            return value
        self.ended = True
        self.over.set()
        raise value or StopIteration

    def _insist(self, attempt: Callable[[], R], not_yet: type[Exception]) -> R:
        while not self.over.is_set():
            try:
                return attempt()
            except not_yet:
                continue
        raise _Over


@contextmanager
def ahead(items: Iterable[T], most: int = 4) -> Iterator[Iterator[T]]:
    """Inside the block, `items` from a thread; their error, if any, in its place. The block's end waits for the thread.

    Args:
        items: iterated over, and closed, in the thread alone.
        most: items that wait at once.
    """
    belt: _Belt[T] = _Belt(most)

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                belt.put("item", item)
            belt.put("end")
        except _Over:
            pass
        except BaseException as error:
            with suppress(_Over):
                belt.put("end", error)
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, daemon=True, name="vidiff-ahead")
    thread.start()
    try:
        yield belt
    finally:
        belt.over.set()
        thread.join()


def behind(work: Callable[[Iterator[T]], R], items: Iterable[T], most: int = 4) -> R:
    """`work(items)`, `work` in a thread and the items made in this one; the first error of either is raised.

    Args:
        work: given up where the items end with an error.
        most: items that wait at once.
    """
    belt: _Belt[T] = _Belt(most)
    done: list[R] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work(belt))
        except _Over:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            belt.over.set()

    thread = threading.Thread(target=run, daemon=True, name="vidiff-behind")
    thread.start()
    try:
        for item in items:
            with suppress(_Over):  # the work has ended before the items did
                belt.put("item", item)
            if belt.over.is_set():
                break
        with suppress(_Over):
            belt.put("end")
    except BaseException:
        belt.over.set()
        raise
    finally:
        thread.join()
    if failed:
        raise failed[0]
    return done[0]
