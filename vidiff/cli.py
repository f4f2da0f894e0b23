"""The command line: finds the verb, and ends with an exit code and one line whatever happens. Imports no torch."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidiff import __version__
from vidiff.command_line import call, functions_of
from vidiff.errors import TRY_AGAIN, RunError, UsageError, unforeseen, unknown_name

TRAINING_VERBS = {
    "fit": "Train a model: --config experiments/<name>.yaml",
    "validate": "Measure a checkpoint on the validation split",
    "test": "Measure a checkpoint on the test split",
}


def _commands() -> dict[str, str]:
    """Verb -> first line of its file's docstring; whatever lies in `commands/` is a verb, except helpers with `_`."""
    folder = Path(__file__).parent / "commands"
    out = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        if path.stem != "fit":
            with path.open(encoding="utf-8") as f:
                out[path.stem] = f.readline().strip().strip('"').rstrip(".")
    return out


def _help() -> str:
    lines = [f"vidiff {__version__}: train, measure, compare and use adversarial video models", "", "verbs:"]
    verbs = {**TRAINING_VERBS, **_commands()}
    lines += [f"  {verb:<10} {text}" for verb, text in verbs.items()]
    lines += [
        "",
        "`vidiff VERB --help` explains a verb; `vidiff list FAMILY` a model's settings.",
        "First run: vidiff fit --config experiments/dcgan.yaml --config experiments/_tiny.yaml",
    ]
    return "\n".join(lines)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"vidiff {__version__}")
        return 0
    verb = argv[0]
    if verb in TRAINING_VERBS:
        from vidiff.commands.fit import run_training

        return run_training(verb, argv[1:])
    if verb not in _commands():
        raise UsageError(unknown_name("verb", verb, [*TRAINING_VERBS, *_commands()]))
    command = importlib.import_module(f"vidiff.commands.{verb}")
    return call(functions_of(command), f"vidiff {verb}", argv[1:])


def _expanded(argument: str) -> str:
    """`~/x` and `--name=~/x` with the home folder: a shell expands neither in quotes nor behind `=`."""
    name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{name}{equals}{os.path.expanduser(value)}" if value.startswith("~/") else argument


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends this process in order, like Ctrl+C; processes that are forked from it die of it as ever."""
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before != signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def end(number: int, frame: object) -> None:
        if os.getpid() == owner:
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; 0 = done, 1 = failed, 2 = the request was wrong, 130 and 143 = stopped by Ctrl+C and SIGTERM,
    75 = stopped in order, to be continued.

    Messages go to stderr, one line each; with VIDIFF_DEBUG=1 the traceback comes before them.
    """
    argv = [_expanded(a) for a in (sys.argv[1:] if argv is None else argv)]
    if hasattr(sys.stdout, "reconfigure"):  # names that this terminal cannot show are spelled out, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # one order in `2>&1 | tee log`
    try:
        with _ending_on_sigterm():
            return _dispatch(argv)
    except (UsageError, RunError) as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted", 130)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl+C
            return _failed("interrupted", 130)
        if stop.code == TRY_AGAIN:
            return _failed("stopped in order; --ckpt_path last continues", TRY_AGAIN)
        if stop.code == 128 + signal.SIGTERM:
            return _failed("terminated", stop.code)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _failed(unforeseen(error, f"running `vidiff {argv[0]}`"), 1)


def _failed(message: str, code: int) -> int:
    if os.environ.get("VIDIFF_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    print(f"vidiff: {message}" if code > 2 else f"vidiff: error: {message}", file=sys.stderr)
    return code
