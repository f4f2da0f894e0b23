"""Progress is shown to a terminal as a bar, to a log as lines, and never changes what is iterated over."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

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
    monkeypatch.setattr(progress, "LINE_EVERY_SHARE", 0.0)


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream, expected in ((Terminal(), "2/3"), (io.StringIO(), "vidiff: frames: 2 of 3, 67 %, ")):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(track(iter("abc"), "frames", 3)) == list("abc")
        assert "frames" in stream.getvalue() and (expected in stream.getvalue() or stream.isatty())
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(track("abc", "frames")) == list("abc")
    assert sys.stderr.getvalue().splitlines()[-1] == "vidiff: frames: 3 of 3, 100 %, 0 s left"


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_what_is_printed_under_a_bar_goes_where_it_should(monkeypatch, out):
    """Into a pipe or a file as it is; on a terminal above the bar, which is on stderr."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", stdout := out())
    for letter in track("abc", "frames"):
        print(f"result {letter}")
    piped = out is io.StringIO
    assert (stdout.getvalue() == "result a\nresult b\nresult c\n") == piped
    assert ("result c" in sys.stderr.getvalue()) != piped


def test_a_total_that_was_an_estimate_is_not_insisted_on(capsys):
    assert list(track("abc", "frames", 2)) == list("abc")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("vidiff: frames: 2 of 2, 100 %") and lines[2] == "vidiff: frames: 3"


def clock(monkeypatch, module=progress):
    """A clock that is set by hand: its only item."""
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize("whole_s, most", [(60, 6), (600, 60), (7200, 100), (86400 * 3, 900)])
def test_lines_are_few(monkeypatch, whole_s, most):
    """Every ten seconds in what is soon done, a hundred in what takes hours, one in five minutes in what takes days."""
    monkeypatch.undo()
    now, written = clock(monkeypatch), 0
    lines = progress.Lines()
    while now[0] < whole_s:
        now[0] += 1.0
        written += lines.due(whole_s - now[0])
    assert 0.9 * most <= written <= most


@pytest.mark.parametrize("seconds, text", [
    (0.2, "0 s"), (99, "99 s"), (100, "2 min"), (3540, "59 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min"),
    (86399, "1 d 0 h"), (86400 * 3.5, "3 d 12 h"),
])  # fmt: skip
def test_time_left_is_no_finer_than_it_is_known(seconds, text):
    assert progress.duration(seconds) == text


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
