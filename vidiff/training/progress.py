"""One progress line for people: step, losses by player, clips a second, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vidiff.parallel import world_size


class GameProgress(ProgressBar):
    """A rich bar over generator steps; without a terminal, a plain line now and then.

    Args:
        refresh_s: seconds between two updates of the bar.
        plain_s: seconds between two lines when stderr is no terminal.
    """

    def __init__(self, refresh_s: float = 0.5, plain_s: float = 30.0):
        super().__init__()
        self.refresh_s, self.plain_s = refresh_s, plain_s
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._enabled = True

    def disable(self) -> None:  # of processes other than the first, Lightning does it
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic()
        self._clips, self._last = 0, 0.0
        if self._enabled and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[losses]}"),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._task = self._bar.add_task("step", total=total, completed=trainer.global_step, losses="", speed="")
            self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        if not self._enabled:
            return
        self._clips += len(batch["slot"]) * world_size()
        now = time.monotonic()
        if now - self._last < (self.refresh_s if self._bar else self.plain_s):
            return
        self._last = now
        values = [(p, pl_module.terms.get(f"train/{p}_total")) for p in ("d", "g")]
        losses = "  ".join(f"{p.upper()} {float(v):.3f}" for p, v in values if v is not None)
        speed = f"{self._clips / (now - self._start):.1f} clips/s"
        if self._bar:
            self._bar.update(self._task, completed=trainer.global_step, losses=losses, speed=speed)
        else:
            total = trainer.max_steps if trainer.max_steps > 0 else "?"
            print(f"step {trainer.global_step}/{total}  {losses}  {speed}", file=sys.stderr, flush=True)

    def print(self, *args: Any, **kwargs: Any) -> None:
        self._console.print(*args)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
