"""A run that is told to stop ends after the step that it is in, with a checkpoint: a cluster's time is up."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.errors import TRY_AGAIN
from vidiff.parallel import sum_over_processes, world_size
from vidiff.progress import say
from vidiff.training.checkpoints import Checkpoints


class StopInOrder(Callback):
    """Answers SIGUSR1 and, in a run of one process, SIGTERM: `last.ckpt` after this step, then the end.

    Exit code 75 after SIGUSR1, which a job script answers by queueing itself again, 143 after SIGTERM. A second signal
    does what it did before there was this callback. Of several processes all stop after the same step, whichever of
    them was told; a SIGTERM ends them at once (`vidiff.watch`), for a peer may be gone already.

    Args:
        checkpoints: writes the checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints, self.asked = checkpoints, 0
        self._before: dict[int, Any] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Not before the first step: until then the strategy and Lightning set handlers of their own.
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        self._owner = os.getpid()
        for number in (signal.SIGUSR1, *((signal.SIGTERM,) if world_size() == 1 else ())):
            self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked or os.getpid() != self._owner:  # impatient; or a worker forked from this process
            before = self._before[number]
            signal.signal(number, before if callable(before) else signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.asked = number
        say(f"{signal.Signals(number).name}: stops after this step, with a checkpoint; once more: at once")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        asked = self.asked
        if world_size() > 1:
            asked = signal.SIGUSR1 if sum_over_processes(torch.tensor(float(asked > 0), device=pl_module.device)) else 0
        if not asked:
            return
        self.checkpoints.save(trainer, "last.ckpt")
        raise SystemExit(TRY_AGAIN if asked == signal.SIGUSR1 else 128 + asked)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
