"""Where a shot of a film ends and the next begins. No torch in here."""

from __future__ import annotations

import numpy as np

BINS, GRID = 4, 2  # levels of each color, parts of a side
CUT = 0.25  # share of the pixels whose color is new to their part of the picture; fast pans stay below


def color_change(before: np.ndarray, now: np.ndarray) -> float:
    """How much the colors of two frames differ: 0 for the same, 1 for none in common.

    Mean over the four quarters of a frame of 1 - sum min(h, h') with h, h' the shares of 4 x 4 x 4 colors: motion moves
    few pixels out of their quarter, a cut exchanges them all.

    Args:
        before, now: RGB uint8 (H, W, 3) of one size.
    """
    return float(np.mean([1.0 - np.minimum(a, b).sum() for a, b in zip(_histograms(before), _histograms(now))]))


def is_cut(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether a new shot begins between two frames that follow each other; see `color_change`."""
    return color_change(before, now) > CUT


def _histograms(frame: np.ndarray) -> list[np.ndarray]:
    level = frame.astype(np.int64) * BINS // 256
    code = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]
    parts = [part for rows in np.array_split(code, GRID) for part in np.array_split(rows, GRID, axis=1)]
    return [np.bincount(part.ravel(), minlength=BINS**3) / max(1, part.size) for part in parts]
