"""Memory of a training on a CPU: what a step frees stays with the process, for the next step."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def _function(name: str) -> Callable[..., int] | None:
    """A function of glibc; None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None


def keep_memory(keep: bool = True) -> bool:
    """Have the C library keep freed memory, or give it back at its default thresholds; whether it can (glibc).

    By default every tensor of over 32 MiB, and most of what is larger than 128 KiB, comes from the kernel page by page,
    zeroed, and is given back when it is freed: tens of thousands of page faults a step, 15 to 50 % of its CPU time. The
    process holds its largest step's memory until it ends.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1} if keep else {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 2**17}
    return all([mallopt(*setting) == 1 for setting in settings.items()])


def release_memory() -> None:
    """Give back to the system what was freed, where the C library can."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)
