"""Progress is shown to a terminal as a bar, to a log as lines, and never changes what is iterated over."""

from __future__ import annotations

import io
import sys

import pytest

from vidiff import progress
from vidiff.progress import in_threads, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No waiting: every step is shown."""
    monkeypatch.setattr(progress, "BAR_AFTER_S", -1.0)
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream, expected in ((Terminal(), "2/3"), (io.StringIO(), "vidiff: frames: 2 of 3, ")):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(track(iter("abc"), "frames", 3)) == list("abc")
        assert "frames" in stream.getvalue() and (expected in stream.getvalue() or stream.isatty())
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("items", [[1, 2, 3], iter([1, 2, 3]), []])
def test_without_a_total_it_counts(items, capsys):
    known = hasattr(items, "__len__")
    done = list(track(items, "steps"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(done) and all((" of 3" in line) == known for line in lines)


def test_threads_keep_the_order_and_pass_errors_on():
    assert in_threads(lambda i: i * i, range(50), "squares") == [i * i for i in range(50)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda i: 1 / i, [1, 0, 2], "quotients")
