"""How every verb ends: one line, an exit code, a traceback only where it is asked for; and small files."""

from __future__ import annotations

import os
import signal

import pytest

from vidiff import cli
from vidiff.errors import RunError, UsageError, doing, unforeseen


def raising(error: BaseException):
    def dispatch(argv):
        with doing("reading a.mp4"):
            raise error

    return dispatch


@pytest.mark.parametrize(
    "error, code, line",
    [
        (UsageError("no such key"), 2, "vidiff: error: no such key"),
        (RunError("it diverged"), 1, "vidiff: error: it diverged"),
        (
            KeyError("x"),
            1,
            "vidiff: error: while reading a.mp4: KeyError: 'x'; VIDIFF_DEBUG=1 shows the traceback",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "vidiff: error: while reading a.mp4: OSError: [Errno 28] No space left on device; "
            "VIDIFF_DEBUG=1 shows the traceback",
        ),
        (KeyboardInterrupt(), 130, "vidiff: interrupted"),
        (SystemExit(143), 143, "vidiff: terminated"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else "",
)
def test_one_line_and_an_exit_code(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(cli, "_dispatch", raising(error))
    monkeypatch.delenv("VIDIFF_DEBUG", raising=False)
    assert cli.main(["list"]) == code
    assert capsys.readouterr().err == line + "\n"
    monkeypatch.setenv("VIDIFF_DEBUG", "1")
    assert cli.main(["list"]) == code
    said = capsys.readouterr().err
    assert "Traceback" in said and said.endswith(line + "\n")


def test_without_a_note_the_verb_is_named():
    assert unforeseen(ValueError("odd\n  thing"), "running x").startswith("while running x: ValueError: odd thing;")
    assert "out of memory" in unforeseen(RuntimeError("DefaultCPUAllocator: can't allocate"), "x")


def test_lightnings_answer_to_ctrl_c_is_130(monkeypatch, capsys):
    def dispatch(argv):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904  (as Lightning does)

    monkeypatch.setattr(cli, "_dispatch", dispatch)
    assert cli.main(["list"]) == 130 and capsys.readouterr().err == "vidiff: interrupted\n"


def test_sigterm_ends_in_order(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_dispatch", lambda argv: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert cli.main(["list"]) == 143 and capsys.readouterr().err == "vidiff: terminated\n"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # as it was before the call
    finally:
        signal.signal(signal.SIGTERM, before)


def test_wrong_arguments_of_a_light_verb(capsys):
    assert cli.main(["bench", "table"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vidiff: error: ") and len(said.splitlines()) == 1 and "--help" in said


def test_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    given = ["--out=~/x", "~/y", "~", "a~/b", "--n=~", "--a=b=~/c"]
    assert [cli._expanded(a) for a in given] == ["--out=/h/x", "/h/y", "~", "a~/b", "--n=~", "--a=b=~/c"]
