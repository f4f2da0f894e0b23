"""What keeps a run's folder complete: it is made before training, and an interrupted run gets what it lacks."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.errors import UsageError
from vidiff.files import write_text
from vidiff.training.evaluation import Evaluation
from vidiff.training.run import Run


class RunFolder(Callback):
    """Creates the folder before training, named by process 0, and gives the model the record of its data."""

    def __init__(self, run: Run):
        self.run = run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.run.dir = Path(trainer.strategy.broadcast(str(self.run.dir)))
        pl_module.data_record = trainer.datamodule.describe()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not in `setup`: whatever is refused there leaves no folder behind.
        if not trainer.is_global_zero:
            return
        self.run.sweep()
        if not self.run.resumed:
            self.run.check_new()
            self.run.clear()
        name = "config.yaml"
        if self.run.resumed and (self.run.dir / name).exists():
            if (self.run.dir / name).read_text() == self.run.config:
                return
            name = f"config-resumed-{time.strftime('%Y%m%d-%H%M%S')}.yaml"
        write_text(self.run.dir / name, self.run.config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.restoring = ""
        before, now = pl_module.restored_data.get("fingerprint"), pl_module.data_record["fingerprint"]
        if before is not None and before != now:
            raise UsageError(
                f"--data.root {trainer.datamodule.root} is not what the checkpoint was trained on: its fingerprint is "
                f"{now[:12]}, the checkpoint's {before[:12]}. Start a new run for other videos."
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.restoring = ""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.restoring = ""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.restoring = ""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero and self.run.dir.exists():
            trainer.datamodule.bad_files.write(self.run.dir)


class LateReport(Callback):
    """Writes the report and checkpoint of a resumed run that has nothing left to train, and so no `on_train_end`.

    Args:
        run: the run folder.
        evaluation: whose `on_train_end` writes the report.
    """

    def __init__(self, run: Run, evaluation: Evaluation):
        self.run, self.evaluation = run, evaluation

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        late = self.run.resumed and self.run.reported_step() != trainer.global_step
        unsaved = self.run.resumed and not (self.run.checkpoints / "last.ckpt").is_file()
        late, unsaved = trainer.strategy.broadcast((late, unsaved))
        if late:
            pl_module.to(trainer.strategy.root_device)  # the trainer has put it away
            self.evaluation.on_train_start(trainer, pl_module)
            self.evaluation.on_train_end(trainer, pl_module)
        if unsaved and self.evaluation.checkpoints is not None:
            self.evaluation.checkpoints.save(trainer, "last.ckpt")
