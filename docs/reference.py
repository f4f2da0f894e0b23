"""The reference as pages: settings from signatures and docstrings, verbs from their parsers, the API by mkdocstrings.

Nothing is imported but `vidiff.catalog`, `vidiff.command_line` and the thin files of `vidiff/commands/`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import vidiff
from vidiff import catalog
from vidiff.cli import TRAINING_VERBS
from vidiff.command_line import functions_of, parser_of
from vidiff.commands.fit import ABOUT, HELP

PACKAGE = Path(catalog.__file__).parent
PARTS = {  # page -> title, what it says first, the classes whose settings it lists
    "model": ("model: every family", "What every family takes beside its own settings.", ["AdversarialModule"]),
    "clips": ("data: clips", "One folder of videos, with or without classes.", ["ClipDataModule"]),
    "pairs": ("data: two domains", "Two folders, `A` and `B`.", ["PairDataModule"]),
    "domains": ("data: many domains", "One folder for each domain.", ["DomainDataModule"]),
    "evaluation": ("evaluation", "What is measured, when, on how many clips.", ["EvaluationOptions"]),
    "strategies": (
        "strategies",
        "Rates, balance, averages and augmentation in front of D. [Training](../../training.md#strategies) shows them "
        "at work; what is in a section `model` is listed under [every family](model.md).",
        ["Strategies", "Adam", "Schedule", "Plateau", "Balance", "DiffAugment", "AdaptiveAugment"],
    ),
}
ROOMS = {  # page of the API -> its title and the modules on it
    "vidiff": ("vidiff", []),
    "inference": ("inference", ["inference.checkpoint", "inference.translate", "inference.fuse", "inference.windows"]),
    "errors": ("errors", ["errors"]),
    "models": ("models", ["models.module", "models.base", "models.turn", "models.translation", "models.strategies"]),
    "losses": ("losses, rates, averages", ["losses", "penalties", "consistency", "optim", "ema"]),
    "nn": ("nn", []),
    "augment": ("augment", []),
    "metrics": ("metrics", ["metrics.evaluator", "metrics.controls", "metrics.frechet", "metrics.torchmetric"]),
    "data": ("data", ["data.datamodule", "data.domains", "data.index", "data.layouts"]),
    "video": ("video, clips, randomness", ["video.open", "video.write", "video.sheet", "clip", "keyed"]),
}


def pages() -> dict[str, str]:
    """Path under docs/ -> Markdown, of every page of the reference."""
    made = {
        "reference/index.md": _index(),
        "reference/commands.md": _commands(),
        "reference/experiments.md": _shipped(),
    }
    made |= {_of_family(name): _family(name) for name, _ in catalog.families()}
    made |= {f"reference/settings/{page}.md": _part(*what) for page, what in PARTS.items()}
    return made | {f"reference/api/{page}.md": _room(page) for page in ROOMS}


def menu() -> list:
    """The menu's entry for them."""
    return [
        "reference/index.md",
        {"Commands": "reference/commands.md"},
        {"Experiments": "reference/experiments.md"},
        {"Settings": [{title: f"reference/settings/{page}.md"} for page, (title, *_) in PARTS.items()]},
        {"Families": [{name: _of_family(name)} for name, _ in catalog.families()]},
        {"Python": [{title: f"reference/api/{page}.md"} for page, (title, _) in ROOMS.items()]},
    ]


def _index() -> str:
    parts = [f"[{title}](settings/{page}.md)" for page, (title, *_) in PARTS.items()]
    families = [
        (f"[{name}]({_of_family(name).removeprefix('reference/')})", about) for name, about in catalog.families()
    ]
    rooms = [f"[{title}](api/{page}.md)" for page, (title, _) in ROOMS.items()]
    return "\n".join([
        "# Reference",
        "Made from the source when this site is built: signatures, defaults and docstrings. `vidiff list NAME` prints",
        "the same settings in a terminal.\n",
        "- [Commands](commands.md): every verb with its options\n- [Experiments](experiments.md): every shipped file",
        f"- Settings: {', '.join(parts)}\n- Python: {', '.join(rooms)}\n\n## Families\n",
        _table(("family", "what it is"), families),
    ])  # fmt: skip


def _of_family(name: str) -> str:
    return f"reference/families/{_file_of(name).stem}.md"


@cache
def _file_of(name: str) -> Path:
    return next(p for p in sorted(PACKAGE.rglob("*.py")) if re.search(rf"^class {name}\b", p.read_text("utf-8"), re.M))


def _family(name: str) -> str:
    """Its paper and formulas, the files that train it, its settings."""
    path = _file_of(name)
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    about = re.sub(r"\n(?=(Paper -> code|(Other d|D)eviations|Names in code)\b)", "\n\n", about)
    files = [row for row in catalog.experiments() if f"class_path: {name}\n" in _experiment(row[0])]
    own, *shared = [d for d in catalog.described(name) if d.name not in catalog.BASES]
    return "\n".join([
        f"# {name}\n\n{about}\n\n`vidiff/models/{path.name}`, [in Python](../api/models.md)\n",
        f"## Experiments\n\n{_table(('file', 'what it is'), [(f'`{f}`', text) for f, text in files])}" if files else "",
        *(_settings(d) for d in (own, *shared)),
        "\nEvery family also takes [the settings of the base](../settings/model.md).",
    ])  # fmt: skip


def _experiment(name: str) -> str:
    from vidiff.paths import experiments_dir

    return (experiments_dir().parent / name).read_text(encoding="utf-8") + "\n"


def _part(title: str, about: str, classes: Iterable[str]) -> str:
    found = {d.name: d for name in classes for d in catalog.described(name)}
    return "\n".join([f"# {title}\n\n{about}\n", *(_settings(d) for d in found.values())])


def _settings(d: catalog.Described) -> str:
    """A class as a heading, its description, a table of its settings."""
    rows = []
    for s in d.settings:
        values = dict.fromkeys(f"`{v}`" if v else "required" for v in s.defaults)
        rows.append((", ".join(f"`{n}`" for n in s.names), ", ".join(values), _sentence(s.meaning)))
    return f"## {d.name}\n\n{d.description}\n\n{_table(('setting', 'default', 'meaning'), rows)}"


def _commands() -> str:
    """Every verb, and every action of a verb, as its own parser knows it."""
    out = ["# Commands\n\n`vidiff VERB --help` prints them. Exit codes: 0 done, 1 failed, 2 the request cannot work.\n"]
    for verb in TRAINING_VERBS:
        about, ckpt = ABOUT[verb]
        listed = re.findall(r"^  (\S.*?) {2,}(.*)$", HELP.format(verb=verb, about=about, ckpt=ckpt), re.MULTILINE)
        rows = [(f"`{name}`", _sentence(text)) for name, text in listed if verb == "fit" or name.startswith("--ckpt_")]
        more = "" if verb == "fit" else "\nIts further options are those of `fit`.\n"
        out.append(f"## vidiff {verb}\n\n{about}\n\n{_table(('argument', 'meaning'), rows)}{more}")
    for path in sorted((PACKAGE / "commands").glob("[a-z]*.py")):
        if path.stem == "fit":
            continue
        module = importlib.import_module(f"vidiff.commands.{path.stem}")
        functions = functions_of(module)
        if len(functions) > 1:
            out.append(f"## vidiff {path.stem}\n\n{module.__doc__.splitlines()[0]}\n")
        for f in functions:
            out.append(_command(f, path.stem, several=len(functions) > 1))
    return "\n".join(out)


def _command(function: Callable, verb: str, several: bool) -> str:
    action = function.__name__.rstrip("_")
    parser = parser_of(function, f"vidiff {verb} {action}" if several else f"vidiff {verb}")
    rows = []
    for a in parser._actions:
        if isinstance(a, argparse._HelpAction):
            continue
        value = f" {'|'.join(a.choices)}" if a.choices else f" {a.metavar}" if a.metavar and a.option_strings else ""
        name = " ".join(a.option_strings) + value if a.option_strings else a.metavar
        text = (a.help or "").replace("%%", "%")
        rows.append((f"`{name}`", ("**required.** " if a.required else "") + _sentence(text)))
    table = _table(("argument", "meaning"), rows) if rows else ""
    return f"{'###' if several else '##'} {parser.prog}\n\n{parser.description}\n\n{table}"


def _shipped() -> str:
    parts, files = [], []
    for name, about in catalog.experiments():
        (parts if "/ablations/" in name else files).append((f"`{name}`", about))
    return "\n".join([
        "# Experiments\n\nEvery file that `vidiff fit --config` takes without being told where it lies.\n",
        f"{_table(('file', 'what it trains'), files)}\n\n## Parts and strategies\n",
        "Laid over one of the above with a second `--config`.\n",
        _table(("file", "what it changes"), parts),
    ])  # fmt: skip


def _room(page: str) -> str:
    title, modules = ROOMS[page]
    if page == "vidiff":  # what `import vidiff` offers by itself
        modules = [f"{home.removeprefix('vidiff.')}.{name}" for name, home in vidiff._HOME.items()]
    files = sorted((PACKAGE / page).glob("[a-z]*.py")) if not modules or page == "models" else []
    if page == "models":
        families = {_file_of(name).stem for name, _ in catalog.families()}
        files = [f for f in files if f.stem in families]
    modules = modules + [f"{page}.{f.stem}" for f in files]
    return f"# {title}\n\n" + "\n\n".join(f"::: vidiff.{module}" for module in modules) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if not text.startswith("`") else text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """A cell in one line; outside of code without what would end it or begin a tag."""
    parts = text.split("`")
    return " ".join(
        "`".join(p if i % 2 else p.replace("|", "\\|").replace("<", "&lt;") for i, p in enumerate(parts)).split()
    )
