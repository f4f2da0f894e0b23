"""How long a decoder is waited for: a file that hangs is given up, a busy machine is not held against it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Callable

import numpy as np


def queued() -> float:
    """Seconds that the threads of this process have waited for a core so far; 0 where the system does not tell."""
    total = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[1])  # ns on a core, ns waiting for one, turns
        except (OSError, IndexError, ValueError):  # the thread is gone
            continue
    return total / 1e9


def within(seconds: float, work: Callable[[], np.ndarray]) -> np.ndarray:
    """The result of `work`, or TimeoutError when it is not done after `seconds` (0: wait for ever).

    Time in which others had the cores does not count: on a busy machine every file would be unreadable. A decoder that
    hangs cannot be stopped from outside; its thread is left behind and ends with the process.
    """
    if not seconds:
        return work()
    result: list = []

    def run() -> None:
        try:
            result.append((work(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    before, begin = queued(), time.monotonic()
    thread.start()
    left = seconds
    while not result and left > 0:
        thread.join(left)
        left = seconds + max(0.0, queued() - before) - (time.monotonic() - begin)
    if not result:
        raise TimeoutError
    value, error = result.pop()  # popped: an error that knows its frame would keep itself and the decoder alive
    if error is None:
        return value
    try:
        raise error
    finally:
        del error
