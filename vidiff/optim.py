"""How parameters move: Adam with scalar betas, and learning-rate factors over generator steps or after a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vidiff.errors import UsageError


class Adam(torch.optim.Adam):
    """Kingma and Ba 2015, 1412.6980; torch.optim.Adam with `beta1` and `beta2` as two numbers, so that a command line
    or a sweep can set one of them.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        beta1, beta2: decay of the first and second moment.
        eps: added to the root of the second moment.
    """

    def __init__(self, params: Iterable, lr: float = 2e-4, beta1: float = 0.5, beta2: float = 0.999, eps: float = 1e-8):
        super().__init__(params, lr=lr, betas=(beta1, beta2), eps=eps)


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Let an Adam or AdamW go over the memory once instead of ten times, where nobody chose an implementation.

    On a CPU alone: on a GPU a fused step also wants to unscale gradients, whose norms are taken before.
    """
    groups = optimizer.param_groups
    fits = isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
    if not fits or any(p.device.type != "cpu" for group in groups for p in group["params"]):
        return
    for group in groups:
        if not any(group.get(choice) for choice in ("foreach", "capturable", "differentiable")):
            if group.get("fused") is None:
                group["fused"] = True


@dataclass
class Schedule:
    """Learning-rate factor as a pure function of the generator step s.

    Args:
        kind: `constant`; `linear` (1 until `decay_start`, then straight to 0 at `total_steps`); `cosine` (half a
            cosine over the same range).
        warmup_steps: the factor is multiplied by (s + 1) / warmup_steps while that is below 1.
        decay_start: generator step at which the decay begins; below 1, a share of `total_steps`.
        total_steps: generator step at which the factor is 0; None = the trainer's `max_steps`.
    """

    kind: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    decay_start: int | float = 0
    total_steps: int | None = None

    def factor(self, step: int) -> float:
        value = 1.0
        if self.warmup_steps < 0:
            raise UsageError(f"lr_schedule.warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.kind != "constant":
            if not self.total_steps or self.total_steps <= self.decay_start:
                raise UsageError(
                    f"lr_schedule.kind={self.kind} needs lr_schedule.total_steps (or trainer.max_steps) above "
                    f"decay_start={self.decay_start}, got {self.total_steps}"
                )
            start = self.decay_start if self.decay_start >= 1 else self.decay_start * self.total_steps
            done = min(max((step - start) / (self.total_steps - start), 0.0), 1.0)
            value = 1.0 - done if self.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return value * min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else value


@dataclass
class Plateau:
    """Learning-rate factor of both players that falls while a validation metric does not.

    Args:
        metric: key of an evaluation, lower is better.
        factor: what the rate is multiplied by at each cut, in (0, 1).
        patience: evaluations in a row without a new best value that lead to a cut.
        min_factor: the product of all cuts never goes below.
    """

    metric: str = "val/clip_distance"
    factor: float = 0.5
    patience: int = 3
    min_factor: float = 0.01


class RateOnPlateau:
    """The state of a `Plateau`; `value` is the present factor."""

    def __init__(self, options: Plateau):
        o = options
        if not (0 < o.factor < 1 and o.patience >= 1 and 0 <= o.min_factor <= 1):
            raise UsageError(f"model.plateau: {o}; accepted: 0 < factor < 1, patience >= 1, 0 <= min_factor <= 1")
        self.options, self.best, self.waited, self.value = options, math.inf, 0, 1.0

    def update(self, value: float) -> None:
        if value < self.best:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.options.patience:
            self.value, self.waited = max(self.value * self.options.factor, self.options.min_factor), 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.value = state["best"], state["waited"], state["value"]
