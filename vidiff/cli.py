"""The command line: a light dispatcher; help, version, `list` and the data and weights verbs import no torch."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from vidiff import __version__
from vidiff.errors import RunError, UsageError

TRAINING_VERBS = {
    "fit": "train a model: --config experiments/<name>.yaml",
    "validate": "measure a checkpoint on the validation split",
    "test": "measure a checkpoint on the test split",
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


def experiments_dir() -> Path:
    """The shipped experiments: beside the package in a checkout, inside it in an installed wheel."""
    inside = Path(__file__).parent / "experiments"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "experiments"


def _help() -> str:
    lines = [f"vidiff {__version__}: train, measure, compare and use adversarial video models", "", "verbs:"]
    verbs = {**TRAINING_VERBS, **_commands()}
    lines += [f"  {verb:<10} {text}" for verb, text in verbs.items()]
    lines += [
        "",
        "`vidiff VERB --help` explains a verb; `vidiff fit --help` lists every setting.",
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

        return run_training(argv)
    if verb not in _commands():
        raise UsageError(unknown_name("verb", verb, [*TRAINING_VERBS, *_commands()]))
    command = importlib.import_module(f"vidiff.commands.{verb}")
    parser = argparse.ArgumentParser(
        prog=f"vidiff {verb}",
        description=command.__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return command.run(parser.parse_args(argv[1:]))


def unknown_name(kind: str, name: str, accepted: list[str]) -> str:
    """A message for a name that does not exist: what is accepted, the nearest first."""
    import difflib

    near = difflib.get_close_matches(name, accepted, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Accepted: {', '.join(accepted)}."


def main(argv: list[str] | None = None) -> int:
    """Run one verb; 0 = done, 1 = failed, 2 = the request was wrong. Messages go to stderr."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(argv)
    except (UsageError, RunError) as error:
        print(f"vidiff: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("vidiff: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
