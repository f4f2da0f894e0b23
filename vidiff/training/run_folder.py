"""Which folder a run goes to, which checkpoint it begins from, and what keeps the folder complete."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.errors import UsageError
from vidiff.files import check_writable, write_text
from vidiff.progress import say
from vidiff.training.checkpoints import read_to_continue
from vidiff.training.run import Run, last_checkpoint, new_run_dir, newest_run
from vidiff.zoo import is_zoo

RUNS = Path("runs")


def place_run(verb: str, experiment: str, run_dir: str | None, ckpt_path: str | None) -> tuple[Run, str | None]:
    """Decide the run folder and which checkpoint is meant; nothing is created yet.

    Args:
        verb: only `fit` begins a run.
        experiment: name of the folder below `runs/` where no `run_dir` is given.
        run_dir: the folder that was asked for.
        ckpt_path: a checkpoint, or `last`.

    Raises:
        UsageError, RunError: the folder or the checkpoint cannot be used.
    """
    # Lightning numbers the processes that it starts; they learn the folder's name from process 0, see `RunFolder`.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if ckpt_path == "last":
        folder = Path(run_dir) if run_dir else newest_run(RUNS, experiment)
        ckpt_path = str(last_checkpoint(folder))
        if first:
            say(f"continuing {folder}")
    elif ckpt_path is not None and is_zoo(ckpt_path):
        raise UsageError(
            f"--ckpt_path {ckpt_path}: a model of the zoo holds its averaged generator alone, and no training to "
            "continue; `vidiff sample`, `translate` and `fuse` take it"
        )
    elif ckpt_path is not None and not Path(ckpt_path).exists():
        raise UsageError(f"--ckpt_path {ckpt_path}: no such file (or use `last`)")
    else:
        folder = Path(run_dir or new_run_dir(RUNS, experiment))
    if ckpt_path is not None and first:
        read_to_continue(Path(ckpt_path))  # fails before anything else is done
    check_writable(folder / "config.yaml")
    resumed = ckpt_path is not None and Path(ckpt_path).resolve().is_relative_to(folder.resolve())
    run = Run(folder, resumed)
    if verb == "fit" and not resumed and first:
        run.check_new()
    return run, ckpt_path


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

    on_validation_start = on_test_start = on_fit_end

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero and self.run.dir.exists():
            trainer.datamodule.bad_files.write(self.run.dir)
