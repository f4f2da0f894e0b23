"""What a run has left in its folder, as the rules read it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidiff.doctor.finding import CannotJudge
from vidiff.doctor.thresholds import LEAST_EVALUATIONS, LEAST_ROWS, LEAST_STEPS
from vidiff.errors import RunError, UsageError
from vidiff.files import read_yaml

TABLES = ("metrics.csv", "timing.csv")
STOPPED = "stopped.json"  # written where a training ended by an error


@dataclass(frozen=True)
class Curve:
    """Values by generator step, in order of the steps.

    Args:
        steps: generator steps.
        values: as many values; NaN and infinity are kept.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, start: float, end: float = 1.0) -> Curve:
        """The part between two shares of the last step, such as 0.5 and 1."""
        last = self.steps[-1] if self.steps else 0
        kept = [(s, v) for s, v in zip(self.steps, self.values) if start * last < s <= end * last]
        return Curve(tuple(s for s, _ in kept), tuple(v for _, v in kept))

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    def quantile(self, share: float) -> float:
        """The value that this share of the values is below."""
        return sorted(self.values)[min(int(share * len(self.values)), len(self.values) - 1)]

    @property
    def median(self) -> float:
        return self.quantile(0.5)


@dataclass(frozen=True)
class Evidence:
    """A run's files.

    Args:
        curves: column of `metrics.csv` and `timing.csv` -> its values, without those of empty cells.
        config: the resolved configuration; {} where it cannot be read.
        report: `report.json`; None of an unfinished run.
        stopped: {"step", "error"} of the error that ended the training, where one did.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    stopped: dict[str, Any] | None = None

    @property
    def step(self) -> int:
        """The last generator step that anything is known of."""
        return max((c.steps[-1] for c in self.curves.values() if len(c)), default=0)

    @property
    def planned(self) -> int | None:
        """Generator steps that the run was to make; None: not known."""
        planned = (self.config.get("trainer") or {}).get("max_steps")
        return planned if isinstance(planned, int) and planned > 0 else None

    @property
    def translates(self) -> bool:
        """Whether it is a run of a translation."""
        return any(name.startswith("test/change_") or name.startswith("test/psnr_") for name in self.curves) or (
            "directions" in (self.report or {})
        )

    def setting(self, *keys: str) -> Any:
        """An entry of the configuration, such as ("data", "num_workers"), through `init_args`; None: there is none."""
        value: Any = self.config
        for key in keys:
            value = value if isinstance(value, dict) else {}
            inner = value.get("init_args")
            value = value[key] if key in value else inner.get(key) if isinstance(inner, dict) else None
        return value

    def curve(self, name: str) -> Curve:
        """A curve by its column.

        Raises:
            CannotJudge: the run has not recorded it.
        """
        if not len(found := self.curves.get(name, Curve((), ()))):
            raise CannotJudge(f"the run has no {name}")
        return found

    def course(self, name: str, start: float = 0.5) -> Curve:
        """The part of a logged curve from a share of the run on.

        Raises:
            CannotJudge: it is not recorded, or the run is too short.
        """
        self.long_enough()
        part = self.curve(name).between(start)
        if len(part) < LEAST_ROWS:
            raise CannotJudge(f"{name} has {len(part)} rows from {start:.0%} of the run on, {LEAST_ROWS} are needed")
        return part

    def evaluated(self, name: str, least: int = LEAST_EVALUATIONS) -> Curve:
        """A curve of evaluations behind step 0, at least so many.

        Raises:
            CannotJudge: it is not recorded, or there are too few.
        """
        self.long_enough()
        part = self.curve(name).between(0)
        if len(part) < least:
            raise CannotJudge(f"{name} was evaluated {len(part)} times behind step 0, {least} are needed")
        return part

    def long_enough(self) -> None:
        """Raise CannotJudge of a run of a few steps."""
        if self.step < LEAST_STEPS:
            raise CannotJudge(f"the run has made {self.step} generator steps, {LEAST_STEPS} are needed")


def read_curves(folder: Path) -> dict[str, Curve]:
    """The columns of a run's `metrics.csv` and `timing.csv`.

    Raises:
        RunError: a table is not one that a run writes.
    """
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for path in (folder / name for name in TABLES):
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    _add_row(curves, row)
        except (ValueError, TypeError, KeyError, csv.Error, OSError) as error:
            raise RunError(f"{path} cannot be read as a table of a run: {error}") from error
    return {name: Curve(tuple(steps), tuple(values)) for name, (steps, values) in curves.items()}


def _add_row(curves: dict[str, tuple[list[int], list[float]]], row: dict[str, str]) -> None:
    step = int(row.pop("step"))
    for name, text in row.items():
        if text:
            steps, values = curves.setdefault(name, ([], []))
            steps.append(step)
            values.append(float(text))


def _json(path: Path) -> dict[str, Any] | None:
    """The mapping of a JSON file; None where there is no such file or nothing readable in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def gather(folder: Path) -> Evidence:
    """Read a run folder.

    Raises:
        UsageError: it is not the folder of a run. RunError: its tables are damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; a run folder is needed, such as runs/<experiment>/<time>")
    if not any((folder / name).is_file() for name in ("metrics.csv", "report.json", STOPPED)):
        below = sorted(p.parent for p in folder.glob("*/metrics.csv"))
        hint = f"; did you mean {below[-1]}?" if below else " (a run writes config.yaml, metrics.csv, report.json)"
        raise UsageError(f"{folder} is not the folder of a run: it holds no metrics.csv{hint}")
    try:
        config = read_yaml(folder / "config.yaml")
    except (UsageError, OSError):
        config = {}
    return Evidence(read_curves(folder), config, _json(folder / "report.json"), _json(folder / STOPPED))
