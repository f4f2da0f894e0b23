"""Where things lie: the shipped experiments, what is remembered between runs, weights files. No torch in here."""

from __future__ import annotations

import os
from pathlib import Path


def experiments_dir() -> Path:
    """The shipped experiments: beside the package in a checkout, inside it in an installed wheel."""
    inside = Path(__file__).parent / "experiments"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "experiments"


def cache_dir() -> Path:
    """`$VIDIFF_CACHE_DIR`, or `~/.cache/vidiff`."""
    return Path(os.environ.get("VIDIFF_CACHE_DIR") or Path.home() / ".cache" / "vidiff").expanduser()


def weights_dir() -> Path:
    """`$VIDIFF_WEIGHTS_DIR`, or `~/.cache/vidiff/weights`: where weights files are fetched to and looked for first."""
    return Path(os.environ.get("VIDIFF_WEIGHTS_DIR") or Path.home() / ".cache" / "vidiff" / "weights").expanduser()
