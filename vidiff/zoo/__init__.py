"""Trained models that come with the package: which there are, where their files lie, what is known of each.

A model is two files of one name: `NAME.safetensors`, the averaged generator, and `NAME.json`, its card. `zoo:NAME`
stands for it wherever a checkpoint is taken. No torch in here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidiff.errors import RunError, UsageError, unknown_name
from vidiff.files import sha256_of

FOLDER = Path(__file__).parent
PREFIX = "zoo:"
LARGEST, LARGEST_TOGETHER = 3 * 2**20, 15 * 2**20  # bytes of the files with the weights


def is_zoo(path: str | Path) -> bool:
    """Whether `zoo:NAME` is meant and not a file."""
    return str(path).startswith(PREFIX)


def names(folder: Path = FOLDER) -> list[str]:
    """The names of the models."""
    return sorted(p.stem for p in folder.glob("*.json") if p.with_suffix(".safetensors").is_file())


def card_of(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The card of a model.

    Raises:
        UsageError: there is no such model.
    """
    if name not in (known := names(folder)):
        raise UsageError(unknown_name("model of the zoo", name, known) if known else "the zoo holds no model")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def all_cards(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All cards, in the order of the names."""
    return [card_of(name, folder) for name in names(folder)]


def path_of(name: str | Path, folder: Path = FOLDER) -> Path:
    """The file with the weights of a model, whole and the one that its card is about.

    Args:
        name: `zoo:NAME`.

    Raises:
        UsageError: there is no such model. RunError: its file is damaged.
    """
    name = str(name).removeprefix(PREFIX)
    card, path = card_of(name, folder), folder / f"{name}.safetensors"
    if sha256_of(path) != card["file"]["sha256"]:
        raise RunError(
            f"{path} is damaged, or another file: its sha256 is not the one of its card. Install vidiff again"
        )
    return path
