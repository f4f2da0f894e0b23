"""`metrics.csv`, one row a generator step, the source of truth for tables and for resumed curves; and dashboards.

Weights & Biases and TensorBoard are behind one switch; both are optional, neither ever asks for an account.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vidiff.errors import UsageError, doing
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

    def load(self, last_step: int) -> None:
        """Take up an existing file, without rows after `last_step`: a killed run wrote those past its checkpoint."""
        if self.path.exists():
            with self.path.open(newline="") as f:
                reader = csv.DictReader(f)
                self.columns = list(reader.fieldnames or ["step"])
                kept = [row for row in reader if row["step"] and int(row["step"]) <= last_step]
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
    def resume_at(self, step: int) -> None:
        """Drop what an interrupted run wrote after its checkpoint at `step`."""
        self.last_step = step
        for name in TABLES:
            self._table(name)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values to the row of a generator step, those under `time/` to `timing.csv`."""
        for name, kinds in TABLES.items():
            if values := {k: v for k, v in metrics.items() if k.split("/")[0] in kinds}:
                self._table(name).add(int(step or 0), values)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass  # config.yaml holds them


class WandbClips(WandbLogger):
    """W&B with generator steps as x-axis and samples as videos; offline when there is no key.

    The run's id is a function of its folder, so a resumed run continues where it stood. Videos are encoded before
    they are handed over, because encoding inside wandb needs a package that pins half the world.

    Args:
        run: the run folder; wandb's own files go into `<run>/wandb`.
        config: the nested configuration, logged once.
    """

    def __init__(self, run: Run, config: dict[str, Any]):
        if rank_zero_only.rank == 0:  # only there the folder has its name already
            run.dir.mkdir(parents=True, exist_ok=True)
        online = os.environ.get("WANDB_MODE", "") == "online" or bool(os.environ.get("WANDB_API_KEY"))
        super().__init__(
            name=f"{run.dir.parent.name}/{run.dir.name}",
            id=hashlib.sha256(str(run.dir.resolve()).encode()).hexdigest()[:12],
            save_dir=run.dir,
            project=os.environ.get("WANDB_PROJECT", "vidiff"),
            offline=not online or os.environ.get("WANDB_MODE") == "offline",
            resume="allow",
            config=config,
        )

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        """Samples of one evaluation: `files` maps mp4 and png to paths."""
        import wandb

        media = {"samples/clips": wandb.Video(str(files["mp4"])), "samples/sheet": wandb.Image(str(files["png"]))}
        self.experiment.log({**media, "trainer/global_step": step})


class TensorBoardClips(TensorBoardLogger):
    """TensorBoard with samples as animated images (its own `add_video` writes nothing without a further package)."""

    def __init__(self, run: Run):
        super().__init__(save_dir=run.dir, name="", version="tensorboard")

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        """Samples of one evaluation: `files` maps gif and png to paths."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, path in (("samples/clips", files["gif"]), ("samples/sheet", files["png"])):
            with Image.open(path) as picture:
                width, height = picture.size
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
            summary = Summary(value=[Summary.Value(tag=tag, image=image)])
            self.experiment._get_file_writer().add_summary(summary, step)


def dashboards(kind: str, run: Run, config: dict[str, Any]) -> list:
    """The loggers beside `metrics.csv`: none for `csv`, one for `wandb` or `tensorboard`.

    Raises:
        UsageError: the package is not installed.
    """
    if kind == "csv":
        return []
    if importlib.util.find_spec(kind) is None:
        raise UsageError(f"--logger {kind} needs the package {kind}: pip install {kind} (metrics.csv works without)")
    return [WandbClips(run, config) if kind == "wandb" else TensorBoardClips(run)]
