"""`python -m vidiff.bench.leash VERB ...`: vidiff, ended when the process that started it has ended in any way."""

from __future__ import annotations

import os
import runpy
import sys
import threading

ABANDONED = 143  # as of a process that was terminated


def _watch() -> None:
    """The other end of standard input is the starter's: it closes with it, even where that was killed."""
    while os.read(0, 4096):  # not through sys.stdin, whose lock Python needs in order to end
        pass
    os._exit(ABANDONED)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = ["vidiff", *sys.argv[1:]]
    runpy.run_module("vidiff", run_name="__main__", alter_sys=True)
