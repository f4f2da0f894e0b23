"""Hands what the step noted (losses, logits, gradient norms) to every logger, x-axis = generator steps."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.errors import UsageError
from vidiff.parallel import mean_over_processes, world_size
from vidiff.training.dashboards import Dashboard
from vidiff.training.loggers import MetricsCSV

MUCH_WAITING = 0.3  # share of the wall time
LONG_ENOUGH = 5.0  # seconds that a share is taken over: the first batch of all always waits


def cpu_seconds() -> float:
    """CPU time of this process and of its loader workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Spent(Callback):
    """Counts what a run has cost so far, over resumes too, and stops it at a budget.

    Args:
        budget_cpu_s: CPU seconds of process 0 after which training ends; None = no limit.
        budget_clips: likewise clips of all processes.
        budget_gpu_s: likewise seconds of the clock times the number of GPUs.

    Raises:
        UsageError: a budget that is not above 0.
    """

    def __init__(
        self, budget_cpu_s: float | None = None, budget_clips: int | None = None, budget_gpu_s: float | None = None
    ):
        budgets = {"budget_cpu_s": budget_cpu_s, "budget_clips": budget_clips, "budget_gpu_s": budget_gpu_s}
        for name, budget in budgets.items():
            if budget is not None and not budget > 0:
                raise UsageError(f"{name} must be above 0, got {budget}")
        self.budget_cpu_s, self.budget_clips, self.budget_gpu_s = budgets.values()
        self.cpu_s, self.gpu_s, self.clips = 0.0, 0.0, 0
        self._cpu_since: float | None = None
        self._gpu_since: float | None = None
        self._gpus = 0

    def state_dict(self) -> dict[str, Any]:
        return {"cpu_s": self.total(), "gpu_s": self.total_gpu(), "clips": self.clips}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.cpu_s, self.clips = float(state_dict["cpu_s"]), int(state_dict["clips"])
        self.gpu_s = float(state_dict.get("gpu_s", 0.0))

    def total(self) -> float:
        """CPU seconds so far."""
        return self.cpu_s + (cpu_seconds() - self._cpu_since if self._cpu_since is not None else 0.0)

    def total_gpu(self) -> float:
        """GPU seconds so far: the clock from the first batch to the last, evaluations included, times the GPUs."""
        running = time.monotonic() - self._gpu_since if self._gpu_since is not None else 0.0
        return self.gpu_s + running * self._gpus

    def left(self) -> float | None:
        """Share of the budget that is left, of several the least; None without any."""
        pairs = ((self.budget_cpu_s, self.total()), (self.budget_clips, self.clips))
        pairs += ((self.budget_gpu_s, self.total_gpu()),)
        return min((1 - used / budget for budget, used in pairs if budget is not None), default=None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._gpus = world_size() if trainer.strategy.root_device.type == "cuda" else 0
        if self.budget_gpu_s is not None and not self._gpus:
            raise UsageError("budget_gpu_s needs a GPU; on a CPU set budget_cpu_s or budget_clips")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._cpu_since, self._gpu_since = cpu_seconds(), time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        self.clips += len(batch["slot"]) * world_size()
        left = self.left()
        if left is not None:
            trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(left <= 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.cpu_s, self.gpu_s = self.total(), self.total_gpu()
        self._cpu_since = self._gpu_since = None


class TrainingLog(Callback):
    """Logs `module.terms` every `trainer.log_every_n_steps` generator steps, and how fast training goes."""

    _warned, _first_epoch = False, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._logged = trainer.global_step
        self._first_epoch = trainer.current_epoch
        step, shown = trainer.global_step, 0
        for logger in trainer.loggers if step else []:  # metrics.csv is the first
            if isinstance(logger, MetricsCSV):
                shown = logger.resume_at(step)
            elif isinstance(logger, Dashboard):
                logger.resume_at(step, shown or 0)
        self._restart_clock()

    def _restart_clock(self) -> None:
        self._since = self._batch_end = time.perf_counter()
        self._cpu = time.process_time()
        self._clips, self._wait = 0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._wait += time.perf_counter() - self._batch_end

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        self._clips += len(batch["slot"]) * world_size()
        self._batch_end = time.perf_counter()
        step = trainer.global_step
        every = trainer.log_every_n_steps  # 0: never
        due = every > 0 and (step % every == 0 or step == trainer.max_steps)
        if step == self._logged or not due:
            return
        self._logged = step
        terms = {k: torch.as_tensor(v, device=pl_module.device) for k, v in sorted(pl_module.terms.items())}
        values = mean_over_processes(terms)
        wall = time.perf_counter() - self._since
        values |= {
            "time/clips_per_s": self._clips / wall,
            "time/cpu_s_per_clip": (time.process_time() - self._cpu) / self._clips,
            "time/data_wait_frac": self._wait / wall,
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
        self._warn_of_waiting(trainer, self._wait / wall, wall)
        self._restart_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation between two batches is no time that the model has waited for data."""
        if trainer.state.fn == "fit":
            pause = time.perf_counter() - self._batch_end
            self._since, self._batch_end = self._since + pause, self._batch_end + pause

    def _warn_of_waiting(self, trainer: Trainer, share: float, wall: float) -> None:
        """Warn once of a data path that starves the model, and name what helps.

        The first epoch decodes what the later ones find in the cache: its waiting is normal.
        """
        data = trainer.datamodule
        workers = getattr(data, "loading", {}).get("num_workers")
        cache = getattr(data, "cache", None)
        filling = cache in ("disk", "ram") and trainer.current_epoch == self._first_epoch
        if self._warned or share <= MUCH_WAITING or wall < LONG_ENOUGH or filling or not trainer.is_global_zero:
            return
        self._warned = True
        advice = []
        if cache == "none":
            advice.append("keep decoded frames with --data.cache disk (or ram)")
        elif cache == "disk":
            advice.append("keep decoded frames in memory with --data.cache ram")
        if workers is not None and workers < (os.cpu_count() or 1):
            advice.append(f"decode in more processes: --data.num_workers {max(2, 2 * workers)}")
        advice.append("or store the videos at a smaller size")
        warnings.warn(f"{share:.0%} of the time goes into waiting for data: {'; '.join(advice)}", stacklevel=2)
