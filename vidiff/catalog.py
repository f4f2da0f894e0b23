"""What the package offers, read from its source: families, experiments, the settings of a class. Imports nothing heavy.

A class's settings are the parameters of its `__init__` (or a dataclass's fields) with their defaults; what they mean
is the `Args:` of its docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from vidiff.errors import UsageError, unknown_name
from vidiff.paths import experiments_dir

PACKAGE = Path(__file__).parent
BASES = ("VideoModule", "AdversarialModule")  # of all families, and of those with two players
SECTIONS = {  # sections of a configuration -> the classes that read them
    "model": ["AdversarialModule"],
    "data": ["ClipDataModule", "PairDataModule", "DomainDataModule"],
    "evaluation": ["EvaluationOptions"],
}


def sections(docstring: str) -> tuple[str, dict[str, str]]:
    """The description of a docstring, and name -> meaning of what is in its `Args:`.

    Where an entry only says "see `DCGAN`" or "see `vidiff.files.replacing`", what is said there is its meaning.
    """
    description, _, rest = inspect.cleandoc(docstring).partition("\nArgs:\n")
    args = re.split(r"\n(?=\S)", rest)[0]  # up to the next section
    entries = {}
    for listed, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", args, re.MULTILINE):
        meaning = " ".join(text.split())
        there = _said_elsewhere(meaning)
        entries |= {name: there.get(name, meaning) for name in listed.split(", ")}
    return description.strip(), entries


def _said_elsewhere(meaning: str) -> dict[str, str]:
    """name -> meaning of the `Args:` that an entry points to; empty where it says something itself."""
    match = re.fullmatch(r"see `(?:vidiff\.([\w.]+)\.)?(\w+)`\.?", meaning)
    if not match:
        return {}
    module, name = match.groups()
    if module:
        body = _tree(PACKAGE / f"{module.replace('.', '/')}.py").body
        node = next(n for n in body if getattr(n, "name", None) == name)
    else:
        node = (_class(name) or [None])[0]
    return sections(ast.get_docstring(node) or "")[1] if node else {}


@dataclass(frozen=True)
class Setting:
    """Names that are explained together, their defaults as source text, and the meaning."""

    names: tuple[str, ...]
    defaults: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Described:
    """A class: its name, what its file begins with, its own description, its settings, and where further ones are."""

    name: str
    about: str
    description: str
    settings: list[Setting]
    bases: list[str]


@cache
def _sources() -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def families() -> list[tuple[str, str]]:
    """(class name, first line of its file) of every family: what inherits from the base and has losses."""
    files = [path for path in _sources() if path.parent.name == "models"]
    classes = {n.name: (n, path) for path in files for n in _tree(path).body if isinstance(n, ast.ClassDef)}

    def trains(name: str) -> bool:
        if name in BASES or name not in classes:
            return False
        node = classes[name][0]
        return any(getattr(n, "name", "") == "generator_losses" for n in node.body) or any(map(trains, _bases(node)))

    about = {name: ast.get_docstring(_tree(classes[name][1])) or "" for name in classes if trains(name)}
    return sorted(((n, text.split("\n")[0].rstrip(".")) for n, text in about.items()), key=lambda row: row[0].lower())


def _bases(node: ast.ClassDef) -> list[str]:
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def experiments() -> list[tuple[str, str]]:
    """(path, first comment line) of every experiment that `fit --config` takes; overlays start with `_`."""
    root, found = experiments_dir(), []
    for path in sorted(root.rglob("*.yaml")):
        relative = path.relative_to(root)
        if path.name.startswith("_") or relative.parts[0] in ("benchmarks", "detectors", "sweeps", "watermarks"):
            continue
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        found.append((f"experiments/{relative.as_posix()}", first.lstrip("# ").rstrip(".")))
    return found


def described(name: str) -> list[Described]:
    """The classes that a name means, each followed by the bases that take its `**kwargs`.

    Args:
        name: a class, the file of a family (`wgan_gp`) or a section of a configuration; case does not matter.

    Raises:
        UsageError: there is none.
    """
    wanted = SECTIONS.get(name.lower(), [name])
    out: list[Described] = []
    for class_name in wanted:
        found = _described(class_name)
        if not found:
            accepted = [*SECTIONS, *(family for family, _ in families())]
            raise UsageError(f"{unknown_name('name', name, accepted)} Any other class of the package is accepted too.")
        out += [d for d in found if d.name not in [o.name for o in out]]
    return out


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _class(name: str) -> tuple[ast.ClassDef, Path] | None:
    """A class of the package by its name, or the class of a family by its file's."""
    for path, text in _sources().items():
        names = re.findall(r"^class (\w+)", text, re.MULTILINE)
        wanted = {n for n in names if _plain(n) == _plain(name)}
        if not wanted and path.parent.name == "models" and _plain(path.stem) == _plain(name):
            wanted = {n for n in names if n in dict(families())}
        for node in _tree(path).body if wanted else ():
            if isinstance(node, ast.ClassDef) and node.name in wanted:
                return node, path
    return None


def _described(name: str) -> list[Described]:
    """A class and those that its keyword arguments go to; each setting once, with the default that holds."""
    out: list[Described] = []
    shown: set[str] = set()
    defaults: dict[str, str] = {}
    queue = [name]
    while queue:
        found = _class(queue.pop(0))
        if found is None:
            continue
        node, path = found
        own, passed_on = _parameters(node)
        description, meanings = sections(ast.get_docstring(node) or "")
        bases = _bases(node) if passed_on else []
        defaults = own | defaults
        # What the class only gives another default to is explained where it comes from.
        names = [n for n in meanings if n in own] + [n for n in own if n not in meanings and not bases]
        settings = _settings([n for n in names if n not in shown], defaults, meanings)
        about = " ".join((ast.get_docstring(_tree(path)) or "").split("\n\n")[:2])
        if settings or not out:
            out.append(Described(node.name, about.replace("\n", " "), description, settings, bases))
        shown.update(n for s in settings for n in s.names)
        queue = bases + queue
    return out


def _settings(names: list[str], defaults: dict[str, str], meanings: dict[str, str]) -> list[Setting]:
    groups = [tuple(group) for _, group in groupby(names, lambda n: meanings.get(n, n))]
    return [Setting(group, tuple(defaults[n] for n in group), meanings.get(group[0], "")) for group in groups]


def _parameters(node: ast.ClassDef) -> tuple[dict[str, str], bool]:
    """name -> default as source text ("" where it must be given), and whether more is passed on to the bases."""
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is None:
        if not any("dataclass" in ast.unparse(d) for d in node.decorator_list):
            return {}, True
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        return {n.target.id: _text(n.value) for n in fields}, False
    a = init.args
    positional = [*a.posonlyargs, *a.args][1:]
    defaults = [None] * (len(positional) - len(a.defaults)) + a.defaults[-len(positional) or len(a.defaults) :]
    pairs = [*zip(positional, defaults), *zip(a.kwonlyargs, a.kw_defaults)]
    return {p.arg: _text(d) for p, d in pairs}, a.kwarg is not None


def _text(default: ast.expr | None) -> str:
    """A default as source text; of a factory what it makes, without the argument that it is called with."""
    if isinstance(default, ast.Lambda):
        default = default.body
        if isinstance(default, ast.Call):
            default.args = [a for a in default.args if not isinstance(a, ast.Name)]
    return "" if default is None else ast.unparse(default)
