"""`metrics.csv`, one row a generator step, the source of truth for tables and for resumed curves."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vidiff.errors import doing
from vidiff.files import write_text
from vidiff.training.run import Run

# What depends on the machine and the hour is kept apart, so that metrics.csv of two equal runs is equal.
TABLES = {"metrics.csv": ("train", "val", "test", "data"), "timing.csv": ("time",)}


class _Table:
    """Rows by step; appended to the file, rewritten whole only when a new column appears."""

    def __init__(self, path: Path):
        self.path = path
        self.columns = ["step"]
        self.rows = {}
        self.was_at = 0  # the last step of the file that was taken up

    def load(self, last_step: int) -> None:
        """Take up an existing file, without rows after `last_step`: a killed run wrote those past its checkpoint."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            lines = [line for line in lines if line.endswith("\n")]  # a row is cut short where a disk was full
            reader = csv.DictReader(lines)
            self.columns = list(reader.fieldnames or ["step"])
            steps = [row for row in reader if row["step"]]
            self.was_at = max((int(row["step"]) for row in steps), default=0)
            kept = [row for row in steps if int(row["step"]) <= last_step]
            self.rows = {int(row["step"]): {k: v for k, v in row.items() if v} for row in kept}
            self.write()

    def add(self, step: int, values: dict[str, float]) -> None:
        new = [k for k in values if k not in self.columns]
        appended = step not in self.rows and (not self.rows or step > max(self.rows))
        row = self.rows.setdefault(step, {"step": str(step)})
        row.update({k: repr(float(v)) for k, v in values.items()})
        if new:
            self.columns = ["step", *sorted([*self.columns[1:], *new], key=lambda c: (c.split("/")[0] != "train", c))]
        if new or not appended or not self.path.exists():
            self.write()
        else:
            with doing(f"writing {self.path}"), self.path.open("a", newline="") as f:
                csv.DictWriter(f, self.columns, lineterminator="\n").writerow(row)

    def write(self) -> None:
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[s] for s in sorted(self.rows))
        write_text(self.path, out.getvalue())


class MetricsCSV(Logger):
    """Writes `metrics.csv` (and `timing.csv` for keys under `time/`) into the run folder.

    Args:
        run: the run folder; its path is read late, because process 0 names it.
    """

    def __init__(self, run: Run):
        super().__init__()
        self._run = run
        self._tables: dict[str, _Table] = {}
        self.last_step: int | None = None  # set on resume: rows after it are dropped

    # Lightning joins folder, name and version to a place for what callbacks write: here that is the run folder.
    name = version = ""

    @property
    def save_dir(self) -> str:
        return str(self._run.dir)

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            self._tables[name] = _Table(self._run.dir / name)
            if self._run.resumed:
                self._tables[name].load(self.last_step if self.last_step is not None else 2**62)
        return self._tables[name]

    @rank_zero_only
    def resume_at(self, step: int) -> int:
        """Drop what an interrupted run wrote after its checkpoint at `step`; the last step that it had come to."""
        self.last_step = step
        return max(self._table(name).was_at for name in TABLES)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values to the row of a generator step, those under `time/` to `timing.csv`."""
        for name, kinds in TABLES.items():
            if values := {k: v for k, v in metrics.items() if k.split("/")[0] in kinds}:
                self._table(name).add(int(step or 0), values)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass  # config.yaml holds them
