"""What an `AdversarialModule` refuses: at construction, when a training begins, and while it runs."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from vidiff.errors import UsageError
from vidiff.parallel import GameStrategy


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse what no training can use.

    Args:
        arguments: what the module was built with, by name; no float in it may be infinite or NaN.

    Raises:
        UsageError: naming the argument, its value and what is accepted.
    """
    for name, value in arguments.items():
        if bad := [x for x in _floats(value) if not math.isfinite(x)]:
            raise UsageError(f"model.{name} must be finite, got {bad[0]}")
    for name in ("n_critic", "g_steps", "width", "num_frames", "latent_dim", "num_classes"):
        if (value := arguments.get(name)) is not None and value < 1:
            raise UsageError(f"model.{name} must be at least 1, got {value}")
    for name in ("ema_half_life", "clip_grad_norm"):
        if (value := arguments.get(name)) is not None and not value > 0:
            raise UsageError(f"model.{name} must be above 0 (null: none), got {value}")
    if not 0.0 <= arguments.get("ema_decay", 0.0) < 1.0:
        raise UsageError(f"model.ema_decay must be in [0, 1), got {arguments['ema_decay']}")


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict | list | tuple):
        return [x for v in (value.values() if isinstance(value, dict) else value) for x in _floats(v)]
    return [value] if isinstance(value, float) else []


def check_strategy(trainer: Trainer) -> None:
    """Refuse Lightning's own DDP, which expects every backward to reach every parameter."""
    if isinstance(trainer.strategy, DDPStrategy) and not isinstance(trainer.strategy, GameStrategy):
        if not trainer.strategy._ddp_kwargs.get("find_unused_parameters"):
            raise UsageError(
                "in this module each backward reaches one player: Trainer(strategy=vidiff.parallel.GameStrategy())"
            )


def check_compiler(device: torch.device) -> None:
    """Try torch.compile on one addition: what it lacks on this machine is said before the training begins."""
    try:
        torch.compile(lambda x: x + 1.0)(torch.zeros(2, device=device))
    except Exception as error:
        why = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise UsageError(
            f"model.compile: torch.compile does not work here ({why}): install g++, or leave it out"
        ) from error


def planned_steps(trainer: Trainer, n_critic: int, g_steps: int) -> int | None:
    """Generator steps until the trainer's `max_steps` or `max_epochs`, whichever comes first; None: there is no end.

    An epoch's length is known from `on_train_start` on, not earlier.
    """
    steps = [trainer.max_steps] if trainer.max_steps > 0 else []
    if (trainer.max_epochs or 0) > 0:
        batches = trainer.num_training_batches * trainer.max_epochs
        steps += [int(batches) // n_critic * g_steps] if math.isfinite(batches) else []
    return min(steps, default=None)
