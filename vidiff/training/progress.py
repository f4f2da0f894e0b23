"""How far a training is: one line on a terminal, plain lines in a file or a pipe; steps a second, time left, losses."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from vidiff.models.updates import planned_steps
from vidiff.progress import Lines, duration, on_terminal
from vidiff.training.training_log import Spent

REFRESH_S = 0.5  # between two looks of the bar


class GameProgress(ProgressBar):
    """A bar over generator steps; where stderr is no terminal, plain lines that a log can keep.

    The time left is that of the steps at their mean pace, with the evaluations to come, or what a budget leaves.

    Args:
        every_n_steps: generator steps between two evaluations.
        spent: what the run has cost, and its budget.
    """

    def __init__(self, every_n_steps: int, spent: Spent):
        super().__init__()
        self.every_n_steps, self.spent = every_n_steps, spent
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._enabled = True
        self._evaluation_s = 0.0  # what the newest evaluation took
        self._measured_s = 0.0  # what all of them took since training began

    def disable(self) -> None:  # of processes other than the first, Lightning does it
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        schedule = pl_module.strategies
        self._total = planned_steps(trainer, schedule.n_critic, schedule.g_steps)
        self._first, self._lines, self._shown = trainer.global_step, Lines(), 0.0
        self._measured_s, self._budget_left = 0.0, self.spent.left() or 0.0
        if self._enabled and on_terminal():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                console=self._console,
                redirect_stdout=sys.stdout.isatty(),  # what goes into a file or a pipe stays there
            )
            self._task = self._bar.add_task("step", total=self._total, completed=trainer.global_step, text="")
            self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        if not self._enabled:
            return
        left, step = self._left_s(trainer.global_step), trainer.global_step
        if self._bar:
            if time.monotonic() - self._shown > REFRESH_S or step == self._total:
                self._shown = time.monotonic()
                self._bar.update(self._task, description="step", completed=step, text=self._text(step, left, pl_module))
        elif self._lines.due(left) or (step == self._total and step != self._first):
            self.print(f"step {self._text(step, left, pl_module)}")

    def _text(self, step: int, left_s: float | None, module: LightningModule) -> str:
        """`120/400  30 %  1.1 it/s  4 min left  g 0.71  d 1.38`."""
        parts = [f"{step}/{self._total}", f"{100 * step / self._total:.0f} %"] if self._total else [f"{step}"]
        if (done := step - self._first) > 0:
            parts.append(f"{done / max(self._training_s(), 1e-9):.3g} it/s")
        if left_s is not None and step != self._total:
            parts.append(f"{duration(left_s)} left")
        values = [(p, module.terms.get(f"train/{p}_total")) for p in ("g", "d")]
        return "  ".join([*parts, *(f"{p} {float(v):.3g}" for p, v in values if v is not None)])

    def _training_s(self) -> float:
        return time.monotonic() - self._lines.start - self._measured_s

    def _left_s(self, step: int) -> float | None:
        """Seconds until the last step or the end of the budget, whichever comes first; None: nobody knows."""
        done, found = step - self._first, []
        if self._total and done > 0:
            every = self.every_n_steps
            evaluations = self._total // every - step // every + (step < self._total and self._total % every > 0)
            found.append(self._training_s() / done * (self._total - step) + evaluations * self._evaluation_s)
        left = self.spent.left()
        if left is not None and (used := self._budget_left - left) > 0:
            found.append(left / used * (time.monotonic() - self._lines.start))
        return max(0.0, min(found)) if found else None

    @contextmanager
    def measuring(self, what: str) -> Iterator[None]:
        """Say that something is measured meanwhile, and take its time.

        Args:
            what: in a few words.
        """
        begin = time.monotonic()
        if self._bar:
            self._bar.update(self._task, description=f"measuring {what}")
            self._bar.refresh()
        else:
            self.print(f"measuring {what}")
        try:
            yield
        finally:
            self._evaluation_s = time.monotonic() - begin
            self._measured_s += self._evaluation_s

    def print(self, *args: Any, **kwargs: Any) -> None:
        if not self._enabled:
            return
        if self._bar:  # above it
            self._console.print(*args, soft_wrap=True, markup=False, highlight=False)
        else:
            print(*args, file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)


@contextmanager
def measuring(trainer: Trainer, what: str) -> Iterator[None]:
    """`GameProgress.measuring` where the trainer shows its progress, else nothing."""
    bar = trainer.progress_bar_callback
    if isinstance(bar, GameProgress):
        with bar.measuring(what):
            yield
    else:
        yield
