"""Which precision a run may have: what would train on wrong numbers is refused before it starts."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer

from vidiff.errors import UsageError


def check_precision(trainer: Trainer) -> None:
    """Refuse half precision where it is broken.

    On a CPU, oneDNN's bfloat16 kernels (AVX-512) write past their buffers in the weight gradient of 3-D convolutions
    whose kernel is longer than the clip: 1e24 to NaN in the layer, or a crash. Half precision is no faster there. The
    native kernels are right: `torch.backends.mkldnn.flags(enabled=False)` is let through.

    Raises:
        UsageError: for bf16-mixed and 16-mixed (which Lightning runs as bf16) on a CPU, and for pure half precision.
    """
    precision = str(trainer.precision)
    if precision in ("32-true", "64-true"):
        return
    if not precision.endswith("-mixed"):
        raise UsageError(
            f"trainer.precision {precision} would round the weights and their moving average to so few bits that most "
            "updates are lost: use 32-true, or bf16-mixed on a GPU"
        )
    if trainer.strategy.root_device.type == "cpu" and torch.backends.mkldnn.enabled:
        raise UsageError(
            f"trainer.precision {precision} does not work on a CPU: its kernels return wrong gradients for some 3-D "
            "convolutions (and are no faster): use 32-true"
        )
