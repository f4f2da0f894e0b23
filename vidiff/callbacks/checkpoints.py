"""`checkpoints/last.ckpt` and `checkpoints/best.ckpt`, written through a temporary name."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vidiff.callbacks.run import Run
from vidiff.errors import UsageError, doing


class Checkpoints(Checkpoint):
    """Keeps the newest and the best state of a run.

    Args:
        run: the run folder.
        every_n_steps: generator steps between two writes of `last.ckpt`; it is also written when training ends.
    """

    def __init__(self, run: Run, every_n_steps: int = 500):
        if every_n_steps < 1:
            raise UsageError(f"checkpoints.every_n_steps must be at least 1, got {every_n_steps}")
        self.run, self.every_n_steps = run, every_n_steps
        self.best = math.inf
        self._saved = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def save(self, trainer: Trainer, name: str) -> Path:
        """Write one checkpoint; a collective call, every process takes part."""
        path = self.run.checkpoints / name
        temporary = path.with_name(f".{name}.tmp")
        with doing(f"saving {path}"):
            try:
                trainer.save_checkpoint(temporary)
                if trainer.is_global_zero:
                    os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        trainer.strategy.barrier()
        return path

    def offer(self, trainer: Trainer, score: float) -> None:
        """Keep the present state as `best.ckpt` when its score is the lowest so far."""
        if score < self.best:
            self.best = score
            self.save(trainer, "best.ckpt")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step != self._saved and step % self.every_n_steps == 0:
            self._saved = step
            self.save(trainer, "last.ckpt")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer, "last.ckpt")
