"""Files of settings: found here or among the shipped experiments, read once, older names turned into present ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError, did_you_mean
from vidiff.files import read_yaml
from vidiff.paths import experiments_dir
from vidiff.renamed import renamed


@dataclass(frozen=True)
class ConfigFile:
    """A file of `--config`: its name as it was given, where it is, and what it holds."""

    name: str
    path: Path
    content: dict[str, Any]

    def section(self, name: str) -> dict[str, Any]:
        """The section of a class (`model`, `data`): `init_args`, and `class_path` where the file names the class.

        In a file, a section may be the class alone, or its arguments alone.

        Raises:
            UsageError: it is none of these.
        """
        given = self.content.get(name) or {}
        if isinstance(given, str):
            return {"class_path": given, "init_args": {}}
        if not isinstance(given, dict):
            raise UsageError(f"--config {self.name}: {name}: must hold class_path and init_args")
        arguments = {k: v for k, v in given.items() if k not in ("class_path", "init_args")}
        named = {"class_path": given["class_path"]} if "class_path" in given else {}
        return {**named, "init_args": arguments | (given.get("init_args") or {})}


def find_experiment(name: str | Path) -> Path | None:
    """A file under that name, or the shipped experiment of that name: with `experiments/` in front or without."""
    given = Path(name)
    if given.is_file():
        return given
    inside = given.relative_to("experiments") if given.parts[:1] == ("experiments",) else given
    shipped = experiments_dir() / inside
    return shipped if shipped.is_file() else None


def read_config(name: str) -> ConfigFile:
    """Find and read one file of `--config`.

    Raises:
        UsageError: there is none, or it is not a mapping in YAML.
    """
    path = find_experiment(name)
    if path is None:
        root = experiments_dir()
        hint = did_you_mean(name, sorted(f"experiments/{p.relative_to(root).as_posix()}" for p in root.rglob("*.yaml")))
        raise UsageError(f"--config {name}: no such file.{hint} `vidiff list` shows the experiments.")
    return ConfigFile(name, path, renamed(read_yaml(path)))
