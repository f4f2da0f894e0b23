"""Where a network runs: what was asked for, or the best that there is."""

from __future__ import annotations

import torch

from vidiff.errors import UsageError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name; None: an accelerator where there is one, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise UsageError(f"device {name}: there is no such device here; there are {', '.join(there)}") from error
    return device
