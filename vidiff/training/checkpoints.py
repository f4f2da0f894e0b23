"""`checkpoints/last.ckpt` and `checkpoints/best.ckpt`, written through a temporary name and checked when read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vidiff.errors import RunError, UsageError, at_least, first_line
from vidiff.files import replacing
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.models.record import AVERAGE
from vidiff.training.run import Run


class CheckpointFiles(TorchCheckpointIO):
    """How a trainer writes and reads checkpoints: whole or not at all, and with the one reader that checks them.

    Args:
        run: gets the path of the checkpoint that it continues from.
    """

    def __init__(self, run: Run):
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        try:
            with replacing(Path(path)) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            reason = getattr(error, "strerror", None) or f"is the disk full? ({first_line(error)})"
            raise RunError(f"{path} cannot be written: {reason}") from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        content = read_to_continue(Path(path))
        self.run.restoring = str(path)
        return content


def read_to_continue(path: Path) -> dict[str, Any]:
    """`read_checkpoint`; where one of a run's two checkpoints is damaged, the way on is the other one.

    Raises:
        UsageError, RunError: see `read_checkpoint`.
    """
    try:
        content = read_checkpoint(path)
    except RunError as error:
        other = path.with_name("best.ckpt" if path.name == "last.ckpt" else "last.ckpt")
        try:
            step = read_checkpoint(other)["global_step"]
        except (UsageError, RunError):
            raise error from None
        raise RunError(f"{error}. {other}, of step {step}, is whole: continue with --ckpt_path {other}") from error
    if content["vidiff"].get("holds") == AVERAGE:
        raise UsageError(f"--ckpt_path {path}: it holds an averaged generator alone, and no training to continue")
    return content


class Checkpoints(Checkpoint):
    """Keeps the newest and the best state of a run.

    Args:
        run: the run folder.
        every_n_steps: generator steps between two writes of `last.ckpt`; it is also written when training ends.
    """

    def __init__(self, run: Run, every_n_steps: int):
        at_least(1, **{"checkpoints.every_n_steps": every_n_steps})
        self.run, self.every_n_steps, self.best = run, every_n_steps, math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = float(state_dict["best"])

    def save(self, trainer: Trainer, name: str) -> None:
        """Write one checkpoint; a collective call, every process takes part."""
        trainer.save_checkpoint(self.run.checkpoints / name)  # waits for all

    def offer(self, trainer: Trainer, score: float) -> None:
        """Keep the present state as `best.ckpt` when its score is the lowest so far."""
        if score < self.best:
            self.best = score
            self.save(trainer, "best.ckpt")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        step = trainer.global_step
        if step != self._saved and step % self.every_n_steps == 0:
            self._saved = step
            self.save(trainer, "last.ckpt")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer, "last.ckpt")
