"""What a run folder holds, as far as it is there: settings, report, curves, walls. Nothing of it is executed."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError
from vidiff.files import read_yaml

TABLES = ("metrics.csv", "timing.csv")
Curve = list[tuple[int, float]]


@dataclass
class Recorded:
    """A run as its folder tells it; what is absent or damaged is empty.

    Args:
        dir: the folder.
        name: how the page calls the run.
        config: `config.yaml`.
        report: `report.json`; empty while the run is not finished.
        about: `run.json`: device, data and sizes of the networks; runs of older versions have none.
        walls: what the videos of `samples/walls.json` show; `file` is one of `samples/`.
        curves: column of metrics.csv and timing.csv -> (step, finite value).
        missing: what is not there, in words.
    """

    dir: Path
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    walls: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def data(self) -> dict[str, Any]:
        """What was trained on, as reports describe it."""
        return dictionary(self.report.get("data")) or dictionary(self.about.get("data"))

    @property
    def step(self) -> int:
        """The newest generator step that anything is known of."""
        newest = max((points[-1][0] for points in self.curves.values() if points), default=0)
        known = self.report.get("steps")
        return max(newest, known if isinstance(known, int) else 0)

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Name -> value, floor and protocol."""
        return {k: v for k, v in dictionary(self.report.get("metrics")).items() if isinstance(v, dict)}

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Device and duration of each time that the run was started or continued."""
        found = self.about.get("sessions")
        return [s for s in found if isinstance(s, dict)] if isinstance(found, list) else []

    @property
    def directions(self) -> dict[str, dict[str, Any]]:
        """Of a translation: name of a direction -> its record; empty of other runs."""
        return {k: v for k, v in dictionary(self.report.get("directions")).items() if isinstance(v, dict)}

    def setting(self, *path: str) -> Any:
        """A value of the configuration, such as `setting("data", "init_args", "resolution")`; None: not there."""
        value: Any = self.config
        for key in path:
            value = dictionary(value).get(key)
        return value


def dictionary(value: Any) -> dict[str, Any]:
    """The value, or an empty dict where it is none: files of other versions may hold anything."""
    return value if isinstance(value, dict) else {}


def read_runs(folders: Sequence[Path]) -> list[Recorded]:
    """Read several runs and give each a short name: what is different in their paths.

    Raises:
        UsageError: none, too many to tell their colors apart, one twice, or a folder that is no run.
    """
    if not 1 <= len(folders) <= 8:
        raise UsageError(f"a page shows 1 to 8 runs, got {len(folders)}")
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("a run is given twice")
    names = [path.name for path in resolved]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{path.name}" for path in resolved]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [read_run(folder, name) for folder, name in zip(folders, names)]


def read_run(folder: Path, name: str = "") -> Recorded:
    """Read one run.

    Raises:
        UsageError: the folder is none, or no run.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    if not any((folder / file).is_file() for file in ("config.yaml", "metrics.csv", "report.json")):
        raise UsageError(f"{folder} is no run: it holds no config.yaml, metrics.csv or report.json")
    run = Recorded(folder, name or folder.resolve().name)
    try:
        run.config = read_yaml(folder / "config.yaml")
    except (OSError, UsageError):
        run.missing.append("the configuration (no readable config.yaml)")
    run.report = dictionary(_json(folder / "report.json"))
    if not run.metrics:
        run.missing.append("the tables of measures (no report.json: the run is not finished)")
    run.about = dictionary(_json(folder / "run.json"))
    run.walls = _walls(folder / "samples")
    for table in TABLES:
        run.curves |= _curves(folder / table)
    if not run.curves:
        run.missing.append("the curves (no readable metrics.csv)")
    return run


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _walls(samples: Path) -> list[dict[str, Any]]:
    """The entries whose files are there, in `samples` itself."""
    found = dictionary(_json(samples / "walls.json")).get("walls")
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    names = [str(entry.get("file")) for entry in entries]
    return [e for e, n in zip(entries, names) if Path(n).name == n and n.endswith(".mp4") and (samples / n).is_file()]


def _curves(path: Path) -> dict[str, Curve]:
    """Column -> its finite values by step; a damaged line is left out."""
    curves: dict[str, Curve] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                step = _number(row.pop("step", None))
                for column, text in row.items():
                    value = _number(text)
                    if step is not None and value is not None and isinstance(column, str):
                        curves.setdefault(column, []).append((int(step), value))
    except (OSError, csv.Error):
        return {}
    return curves


def _number(text: Any) -> float | None:
    """A finite number that a text holds."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
