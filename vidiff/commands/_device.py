"""The option `--device`."""

from __future__ import annotations

from vidiff.errors import UsageError


def check_device(name: str) -> str:
    """The name, if there is such a device here; raises UsageError."""
    import torch

    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no values")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise UsageError(f"--device {name}: there is no such device here; there are {', '.join(there)}") from error
    return name
