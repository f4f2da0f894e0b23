"""What a machine can do to a run, where the system lets a test do it: small disks, read-only disks, no route."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def allowed(*command: str) -> None:
    """Run a program of the system; where there is none, or it is not allowed, the test is skipped and says so."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"`{' '.join(command)}` is refused: {done.stderr.strip()[:200]}")


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, in memory, of a size such as `4m`."""
    folder.mkdir()
    allowed("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder: Path, yes: bool = True) -> None:
    """Whether a `disk` can be written."""
    allowed("mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(folder))


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all of a disk but some bytes."""
    filler = folder / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - leave)))
    return filler
