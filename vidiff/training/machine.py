"""Where and with what a run was made: processor, versions, commit, peak memory; plain values for its report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vidiff

PACKAGES = ("torch", "lightning", "numpy", "scipy", "kornia", "av", "decord")


def hardware(device: torch.device | None = None) -> dict[str, Any]:
    """Processor, cores, memory, threads, and the GPU that is used."""
    out = {
        "cpu": _cpu(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": None,
    }
    if device is not None and device.type == "cuda":
        out["gpu"] = torch.cuda.get_device_name(device)
    return out


def _cpu() -> str:
    """What the processor calls itself, with family and model where its name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    name = found.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else name


def versions() -> dict[str, str]:
    """Of Python, this package and those that its figures depend on; what is not installed is left out."""
    out = {"python": platform.python_version(), "vidiff": vidiff.__version__}
    for name in PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return out


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, `+changed` where files differ; None outside of one."""
    root = Path(vidiff.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "vidiff", "experiments")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changed" if changed else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory that was held so far, in MiB: of the GPU where one is used, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def seconds_per_clip(make: Callable[[], Any], clips: int, device: torch.device) -> float:
    """Of a second call of `make`, which makes so many clips: CPU seconds of all threads, of the clock on a GPU."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    make()
    wait()
    begin = clock()
    make()
    wait()
    return (clock() - begin) / clips


def record(device: torch.device) -> dict[str, Any]:
    """What a report says of its making."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "git_commit": git_commit(),
        "versions": versions(),
        "hardware": hardware(device),
        "peak_memory_mb": peak_memory_mb(device),
    }
