"""jsonargparse's errors in one sentence: which key, what was given, what is accepted, the nearest name."""

from __future__ import annotations

import pkgutil
import re

from vidiff.catalog import SECTIONS
from vidiff.errors import UsageError, did_you_mean
from vidiff.models import families
from vidiff.models.arguments import constructors


def _arguments_of(class_path: str) -> list[str]:
    """Every argument that a class and its bases take through **kwargs."""
    try:
        cls = pkgutil.resolve_name(class_path)
    except (ImportError, AttributeError, ValueError):
        return []
    return list(dict.fromkeys(p.name for named in constructors(cls) for p in named))


def readable(message: str, options: list[str]) -> str:
    """One sentence for a person: jsonargparse gives no more than a text, which names the key it was parsing.

    Args:
        message: jsonargparse's.
        options: every option name of the verb, dotted.
    """
    text = " ".join(message.split())
    keys = re.findall(r'Parser key "([\w.]+)"', text)
    section = keys[0] if keys else ""
    if match := re.search(r"unrecognized arguments: -*([^\s=]+)", text):
        return f"unknown option --{match[1]}.{did_you_mean(match[1], options)} `vidiff fit --help all` lists all."
    if match := re.search(r"does not accept option '([\w.]+)'", text):
        return f"unknown key {match[1]!r} in the configuration.{did_you_mean(match[1], options)}"
    if match := re.search(r"Problem with given class_path '([\w.]+)':.*?Option '([\w.]+)' is not accepted", text):
        return _unknown_argument(section, *match.groups())
    if match := re.search(r"Expected a dot import path string: (\S+)", text):
        return _unknown_class(section, keys[-1] if keys else "", match[1])
    return _wrong_value(section, text)


def _unknown_argument(section: str, class_path: str, key: str) -> str:
    name = key.split(".")[-1]
    if class_path.endswith(("LightningDataModule", "VideoModule")):  # abstract: nothing was named yet
        return f"{section}.{name} is given before {section}.class_path: put --config EXPERIMENT before its overlays"
    hidden = "domains" if "PairDataModule" in class_path else None  # set by domain_a, _b
    accepted = [a for a in _arguments_of(class_path) if a != hidden]
    return (
        f"{section}.{key}: {class_path.rpartition('.')[2]} has no such argument.{did_you_mean(name, accepted)} "
        f"Accepted: {', '.join(accepted)}."
    )


def _unknown_class(section: str, key: str, name: str) -> str:
    if key not in ("", section):
        return f"{section}.{key}: there is no class {name!r}. Accepted: a full import path."
    accepted = {"model": sorted(families()), "data": SECTIONS["data"]}.get(section, [])
    listed = f" Accepted: {', '.join(accepted)}, or a full import path." if accepted else ""
    return f"{section}.class_path: there is no class {name!r}.{did_you_mean(name, accepted)}{listed}"


def _wrong_value(section: str, text: str) -> str:
    """The innermost key and what was expected there; the text itself where it names no key."""
    inner = re.findall(r'Parser key "([\w.]+)": (.+?)(?= - |$)', text)
    if not inner:
        return text
    key, why = inner[-1]
    key = key if key.startswith(section) else f"{section}.{key}"
    why = re.sub(r"<class '([\w.]+)'>", lambda m: m[1].rpartition(".")[2], why)
    why = re.sub(r"\s*Subtypes: \[.*?\] Errors:", "", why)
    return f"{key}: {why.strip(' -')}"


ABOUT_TYPES = ("Expected a", "Does not validate", "Problem with given class_path")


def own_message(error: BaseException) -> str:
    """The words of the UsageError that other errors were wrapped around; empty where there is none."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, UsageError):
        seen = seen.__cause__ or seen.__context__
    return "" if seen is None else str(seen)


def constructor_message(error: BaseException) -> str:
    """What a constructor complained about, dug out of the frames that jsonargparse wraps around it."""
    if message := own_message(error):
        return message
    # A union of types lists what each made of the value: the constructor's own words are the ones not about types.
    words = [w for w in re.findall(r"^\s*- (.+)", str(error), re.MULTILINE) if not w.startswith(ABOUT_TYPES)]
    return (words[0] if words else str(error)).strip()


def worker_killed(error: BaseException) -> bool:
    """Whether an error is what torch's handler of SIGCHLD raises, wherever the training was just then."""
    return re.match(r"DataLoader worker \(pid \d+\) is killed by signal", str(error)) is not None
