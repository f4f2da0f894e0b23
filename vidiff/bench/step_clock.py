"""Instruments for a training step: a clock that shares time out among parts, FLOPs, memory, what the machine can do."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

PARTS = ("D", "G", "EMA", "data", "logging", "Lightning")


class Clock:
    """Shares a time out among parts; they nest, and what passes inside of several is the innermost one's.

    Args:
        now: the time, CPU seconds of this process.
    """

    def __init__(self, now: Callable[[], float] = time.process_time):
        self._now, self._open = now, [PARTS[-1]]
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._since = now()

    def _settle(self) -> None:
        now = self._now()
        self._spent[self._open[-1]] += now - self._since
        self._since = now

    @property
    def part(self) -> str:
        return self._open[-1]

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """What passes in the block is the part's."""
        self._settle()
        self._open.append(part)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def timed(self, function: Callable, part: str | Callable[..., str]) -> Callable:
        """A function whose time is a part's, or that of which `part`, called with its arguments, names."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.within(part if isinstance(part, str) else part(*args, **kwargs)):
                return function(*args, **kwargs)

        return wrapped

    def lap(self) -> dict[str, float]:
        """Part -> what it got since the last call."""
        self._settle()
        spent, self._spent = self._spent, dict.fromkeys(PARTS, 0.0)
        return spent


class CountFlops(TorchDispatchMode):
    """Counts FLOPs, 2 a multiplication with addition, of convolutions and matrix products, backward ones included."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@dataclass
class Lap:
    """One step: CPU seconds by part, seconds of the clock, clips."""

    parts: dict[str, float]
    wall_s: float
    clips: float

    @property
    def cpu_s(self) -> float:
        return sum(self.parts.values())


class Laps(Callback):
    """Takes the time of each generator step after the first, and the FLOPs of the first; the last of the callbacks.

    Args:
        clock: see `Clock`.
        steps: after which the training stops, the first not counted.
    """

    def __init__(self, clock: Clock, steps: int):
        self.clock, self.steps = clock, steps
        self.laps: list[Lap] = []
        self.flops = 0.0
        self._clips, self._step, self._wall = 0, 0, 0.0
        self._counter: CountFlops | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._step:
            self._counter = CountFlops().__enter__()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.flops, self._counter = self.flops + self._counter.total, None
        self._clips += len(batch["slot"])
        if not (passed := trainer.global_step - self._step):
            return
        wall, parts = time.perf_counter(), self.clock.lap()
        if self._step:
            lap = {part: s / passed for part, s in parts.items()}
            self.laps.append(Lap(lap, (wall - self._wall) / passed, self._clips / passed))
        else:
            self.flops /= passed
        self._step, self._wall, self._clips = trainer.global_step, wall, 0
        trainer.should_stop = trainer.should_stop or len(self.laps) >= self.steps


class TimedLoader:
    """A loader whose `next` is the data's time."""

    def __init__(self, loader: Any, clock: Clock):
        self._loader, self._clock = loader, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches, end = iter(self._loader), object()
        while True:
            with self._clock.within("data"):
                batch = next(batches, end)
            if batch is end:
                return
            yield batch


def memory_mb(name: str) -> float | None:
    """A value of this process in /proc/self/status, in MiB: `VmRSS` now, `VmHWM` at most; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), None)


def forget_peak() -> bool:
    """Let `VmHWM` begin anew; whether the system does."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def roof(repeats: int = 3) -> dict[str, float]:
    """GFLOP in a CPU second of a large float32 matrix product and a large convolution, the best of `repeats` each."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    x, w = torch.rand(4, 128, 48, 48), torch.rand(128, 128, 3, 3)
    found = {}
    for name, work in {"matmul": lambda: a @ b, "convolution": lambda: F.conv2d(x, w, padding=1)}.items():
        work()
        with CountFlops() as counter:
            work()
        spent = []
        for _ in range(repeats):
            begin = time.process_time()
            work()
            spent.append(time.process_time() - begin)
        found[name] = counter.total / 1e9 / min(spent)
    return found
