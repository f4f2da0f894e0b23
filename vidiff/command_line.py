"""A typed function as a command: its signature gives the options, its docstring their help.

The verbs are plain functions, so that a call in Python and a call in a shell are the same thing:

- a parameter in front of `*` is a positional argument, one behind it an option `--name`, and a default makes either
  optional; `data_root` is written `--data.root`, and a `_` at the end (`json_`) only keeps a name free in Python;
- `bool` is a flag (`--name`, and `--no-name` where the default is not False), `Literal` a choice, `list` one or more
  values (`--name a b` and `--name a --name b`), `Annotated[list[str], REST]` all that follows;
- the text in front of `Args:` is the description, and each entry of `Args:` the help of its option;
- an entry that says "see `vidiff.inference.sample.sample_to`" has the words of that function's docstring.

Why not jsonargparse, with which `fit` reads its nested configuration: a verb has a dozen flat options. jsonargparse
alone takes a quarter of a CPU second to import, more than the rest of `vidiff --help` together; its flags need a value
(`--json true`), its lists brackets (`--input "[a, b]"`), and its messages are several lines about types.
"""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from vidiff.catalog import sections
from vidiff.errors import UsageError, did_you_mean, unknown_name
from vidiff.files import given_path

REST = argparse.REMAINDER  # mark of an option that takes all words behind it, whatever they begin with
METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


def functions_of(module: types.ModuleType) -> list[Callable[..., int | None]]:
    """The commands of a file: its public functions. One is the verb itself, several are its actions."""
    functions = [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    return [f for f in functions if not f.__name__.startswith("_")]


def call(functions: Sequence[Callable[..., int | None]], prog: str, argv: Sequence[str]) -> int:
    """Parse the words behind the verb and call the function that they mean.

    Args:
        functions: see `functions_of`.
        prog: how the command line begins, for messages: `vidiff data`.
        argv: the words behind it.

    Returns:
        The exit code; None of a function is 0.

    Raises:
        UsageError: the words do not fit the signature.
    """
    if len(functions) > 1:
        actions = {f.__name__.rstrip("_"): f for f in functions}
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: {prog} ACTION ...\n")
            print("\n".join(f"  {name:<8} {f.__doc__.splitlines()[0]}" for name, f in actions.items()))
            print(f"\n`{prog} ACTION --help` explains one.")
            return 0
        if not argv or argv[0] not in actions:
            raise UsageError(f"{prog}: {unknown_name('action', argv[0] if argv else '', list(actions))}")
        return call([actions[argv[0]]], f"{prog} {argv[0]}", argv[1:])
    given, unknown = parser_of(functions[0], prog).parse_known_args(argv)
    if unknown:
        options = [_option(p) for p in inspect.signature(functions[0]).parameters.values() if p.kind is p.KEYWORD_ONLY]
        hint = did_you_mean(unknown[0].split("=")[0], options) if unknown[0].startswith("-") else ""
        raise UsageError(f"{prog}: unknown argument {unknown[0]!r}.{hint} `{prog} --help` explains.")
    return functions[0](**vars(given)) or 0


def parser_of(function: Callable[..., int | None], prog: str) -> argparse.ArgumentParser:
    """The parser of one function; what is not given stays out of its result, so that the function's defaults hold."""
    description, meanings = sections(function.__doc__ or "")
    parser = Parser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    annotations = typing.get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        _add(parser, parameter, annotations[parameter.name], meanings.get(parameter.name, ""))
    return parser


class Parser(argparse.ArgumentParser):
    """Raises where argparse would print and leave."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`{self.prog} --help` explains)")


def _option(parameter: inspect.Parameter) -> str:
    return "--" + re.sub(r"^data_", "data.", parameter.name.rstrip("_"))


def _add(parser: argparse.ArgumentParser, parameter: inspect.Parameter, kind: Any, text: str) -> None:
    """One parameter as an argument of the parser."""
    required, positional = parameter.default is parameter.empty, parameter.kind is not parameter.KEYWORD_ONLY
    nargs = None
    if get_origin(kind) is Annotated:
        kind, nargs = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (k for k in get_args(kind) if k is not type(None))
    several = get_origin(kind) is list
    kind = get_args(kind)[0] if several else kind
    if not required and parameter.default not in (None, False, (), "", True):
        text = f"{text.rstrip('.')} (default {parameter.default})"
    how: dict[str, Any] = {"help": text.replace("%", "%%").replace("None:", "default:")}
    if kind is bool:
        how["action"] = "store_true" if parameter.default is False else argparse.BooleanOptionalAction
    elif get_origin(kind) is Literal:
        how["choices"] = get_args(kind)
    else:
        how |= {"type": given_path if kind is Path else kind, "metavar": METAVARS[kind]}
    if several:
        how["nargs"] = nargs or ("+" if required or not positional else "*")
        if not positional and not nargs:
            how["action"] = "extend"
    if positional:
        how["metavar"] = parameter.name.rstrip("_").upper()
        parser.add_argument(parameter.name, **how, **({} if required or several else {"nargs": "?"}))
    else:
        parser.add_argument(_option(parameter), dest=parameter.name, required=required, **how)
