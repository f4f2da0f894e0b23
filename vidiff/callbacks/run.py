"""The run folder: where everything of a run goes, named once, never overwritten."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.errors import UsageError
from vidiff.files import write_text


def config_hash(text: str) -> str:
    """Names a resolved configuration: first 16 hex digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Run:
    """A run folder and whether it is continued.

    Args:
        dir: the folder; `config.yaml`, `metrics.csv`, `timing.csv`, `checkpoints/`, `samples/`, `report.json`.
        resumed: True when training continues in a folder that already holds a run.
        config: the fully resolved configuration as YAML text.
        restoring: the checkpoint whose states are being restored just now.
    """

    dir: Path
    resumed: bool = False
    config: str = ""
    restoring: str = ""

    @property
    def checkpoints(self) -> Path:
        return self.dir / "checkpoints"


def new_run_dir(root: Path, experiment: str) -> Path:
    """`<root>/<experiment>/<time>-<id>`: sorted by time, unique across processes that start together."""
    return root / experiment / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def newest_run(root: Path, experiment: str) -> Path:
    """The newest run of an experiment that has a `last.ckpt`.

    Raises:
        UsageError: there is none.
    """
    runs = [p.parent.parent for p in (root / experiment).glob("*/checkpoints/last.ckpt")]
    if not runs:
        raise UsageError(f"--ckpt_path last: no run of {experiment!r} with a checkpoint under {root / experiment}")
    return max(runs, key=lambda p: (p / "checkpoints" / "last.ckpt").stat().st_mtime)


class RunFolder(Callback):
    """Creates the folder before training: process 0 names it, the others learn the name."""

    def __init__(self, run: Run):
        self.run = run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.run.dir = Path(trainer.strategy.broadcast(str(self.run.dir)))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not in `setup`: whatever is refused there leaves no folder behind.
        if not trainer.is_global_zero:
            return
        if not self.run.resumed and (self.run.dir / "config.yaml").exists():
            raise UsageError(f"{self.run.dir} already holds a run: choose another --run_dir or add --ckpt_path last")
        name = "config.yaml"
        if self.run.resumed and (self.run.dir / name).exists():
            if (self.run.dir / name).read_text() == self.run.config:
                return
            name = f"config-resumed-{time.strftime('%Y%m%d-%H%M%S')}.yaml"
        write_text(self.run.dir / name, self.run.config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.data_record = trainer.datamodule.describe()
        before, now = pl_module.restored_data.get("fingerprint"), pl_module.data_record["fingerprint"]
        if before is not None and before != now:
            raise UsageError(
                f"--data.root {trainer.datamodule.root} is not what the checkpoint was trained on: its fingerprint is "
                f"{now[:12]}, the checkpoint's {before[:12]}. Start a new run for other videos."
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero and self.run.dir.exists():
            trainer.datamodule.write_bad_files(self.run.dir)
