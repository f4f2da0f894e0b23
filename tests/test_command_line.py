"""A signature and a docstring make a command line: every kind of parameter, and what is wrong in one line."""

from __future__ import annotations

import importlib
import types
from pathlib import Path
from typing import Annotated, Literal

import pytest

from vidiff.command_line import REST, call, functions_of, parser_of
from vidiff.errors import UsageError


def verb(
    source: Path,
    more: list[str] | None = None,
    *,
    num_clips: int = 4,
    data_root: Path | None = None,
    kind: Literal["a", "b"] = "a",
    trust: list[str] | None = None,
    ema: bool = True,
    json_: bool = False,
    stills: bool | None = None,
    rate: float = 1.5,
    fit: Annotated[list[str] | None, REST] = None,
) -> dict:
    """Do it, 100 %.

    More about it.

    Args:
        source: what is read.
        more: what else.
        num_clips: how many, about
            twice as many as lines.
        data_root, kind: two things.
        ema: see `vidiff.inference.sample.sample_to`.
    """
    seen.update(locals())


seen: dict = {}


def parsed(*words: str) -> dict:
    seen.clear()
    assert call([verb], "vidiff verb", words) == 0
    return dict(seen)


def test_every_kind_of_parameter():
    plain = parsed("a.mp4")
    assert plain == {
        "source": Path("a.mp4"), "more": None, "num_clips": 4, "data_root": None, "kind": "a", "trust": None,
        "ema": True, "json_": False, "stills": None, "rate": 1.5, "fit": None,
    }  # fmt: skip
    words = "a.mp4 x y --num_clips 5 --data.root d --kind b --trust p q --trust r --no-ema --json --no-stills"
    given = parsed(*words.split(), "--rate", "2", "--fit", "--data.fit", "crop")
    assert given == {
        "source": Path("a.mp4"), "more": ["x", "y"], "num_clips": 5, "data_root": Path("d"), "kind": "b",
        "trust": ["p", "q", "r"], "ema": False, "json_": True, "stills": False, "rate": 2.0,
        "fit": ["--data.fit", "crop"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "words, named",
    [
        ("", "SOURCE"),
        ("a --num_clips x", "--num_clips: invalid int value: 'x'"),
        ("a --num_clip 3", "unknown argument '--num_clip'. Did you mean '--num_clips'?"),
        ("a --num_cilps=3", "unknown argument '--num_cilps=3'. Did you mean '--num_clips'?"),
        ("a --kind c", "invalid choice: 'c'"),
        ("a --json=yes", "ignored explicit argument"),
    ],
)
def test_what_is_wrong_is_one_line(words, named):
    with pytest.raises(UsageError) as caught:
        parsed(*words.split())
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert "`vidiff verb --help` explains" in str(caught.value)


def test_an_empty_path_is_no_path():
    with pytest.raises(UsageError, match="the path is empty"):
        parsed(" ")


def test_the_docstring_is_the_help():
    text = parser_of(verb, "vidiff verb").format_help()
    for part in ("Do it, 100 %.", "More about it.", "--num_clips N", "(default 4)", "--data.root PATH", "{a,b}"):
        assert part in text
    assert "the generator's moving average" in " ".join(text.split())  # what the library's docstring says
    assert "twice as many as lines" in " ".join(text.split()) and "Args" not in text


@pytest.mark.parametrize("verb", ["bench", "data", "evaluate", "fuse", "list", "sample", "translate", "weights"])
def test_every_option_is_explained(verb):
    for function in functions_of(importlib.import_module(f"vidiff.commands.{verb}")):
        for action in parser_of(function, verb)._actions:
            text = action.help or ""
            assert text.split("(default")[0].strip() and "see `" not in text and "None" not in text, action.dest


def test_one_public_function_is_the_verb_and_several_are_its_actions(capsys):
    module = types.ModuleType("m")
    for name in ("list_", "fetch", "_helper"):
        exec(f"def {name}():\n    'Do {name}.'\n    print('{name}')\n    return {len(name)}", vars(module))
        vars(module)[name].__module__ = "m"
    module.other = verb  # of another file
    functions = functions_of(module)
    assert [f.__name__ for f in functions] == ["list_", "fetch"]
    assert call(functions, "vidiff m", ["list"]) == 5 and capsys.readouterr().out == "list_\n"
    assert call(functions, "vidiff m", ["--help"]) == 0 and "Do fetch." in capsys.readouterr().out
    for words, said in ((["fecth"], "Did you mean 'fetch'"), ([], "Accepted: list, fetch")):
        with pytest.raises(UsageError, match=said):
            call(functions, "vidiff m", words)
