"""What the renderer knows of the videos that it made: where the sprites of a clip are, how fast they move. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidiff.data.shapes.scene import scene_truth

MARKER = "shapes.json"  # the record of a rendered set lies in its folder
VERSION = 1  # of the renderer: raise it whenever the pixels of any scene change


@dataclass(frozen=True)
class Truth:
    """What is known of every clip of a rendered set.

    Args:
        seed: of the set.
        resolution: height and width of the clips in pixels, whatever the files'.
    """

    seed: int
    resolution: int

    def positions(self, video: str, frames: Sequence[int]) -> np.ndarray:
        """Where the sprites are.

        Args:
            video: the file's path; its name is the number of the scene.
            frames: frame numbers (T,).

        Returns:
            float64 (T, 2, 2): x, y of each sprite's centre as in `scene_truth`, NaN for a second one that is not there.
        """
        known = scene_truth(self.seed, int(Path(video).stem), int(max(frames)) + 1, self.resolution)["positions"]
        out = np.full((len(frames), 2, 2), np.nan)
        out[:, : known.shape[1]] = known[np.asarray(frames)]
        return out

    def speed(self, video: str, frames: Sequence[int]) -> dict[str, Any]:
        """`speed`: mean |change of position| of the sprites between neighbouring frames of a clip, in pixels."""
        return {"speed": _speed(self.positions(video, frames))}

    def speed_and_positions(self, video: str, frames: Sequence[int]) -> dict[str, Any]:
        """`speed`, and `positions` as above."""
        positions = self.positions(video, frames)
        return {"speed": _speed(positions), "positions": positions}


def _speed(positions: np.ndarray) -> float:
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1)  # (T - 1, 2)
    return float(np.nanmean(steps)) if len(steps) else 0.0


def truth_of(root: Path, resolution: int) -> Truth | None:
    """What is known of the clips of a folder that this version of the renderer made; None for any other folder."""
    try:
        record = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    made = isinstance(record, dict) and (record.get("dataset"), record.get("version")) == ("shapes", VERSION)
    return Truth(record["seed"], resolution) if made else None
