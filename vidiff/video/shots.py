"""Where a shot of a film ends and the next begins. No torch in here.

`shot_starts` looks at a whole film, frames before and behind included; `is_cut` decides on two frames alone, for what
works on frames as they come.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from vidiff.errors import UsageError

Detector = Literal["color", "adaptive"]
BINS, GRID = 4, 2  # levels of each color, parts of a side
CUT = 0.25  # share of the pixels whose color is new to their part of the picture; fast pans stay below


def check_detector(detector: str) -> None:
    """Raise UsageError where there is no such detector, or it is not installed."""
    if detector not in get_args(Detector):
        raise UsageError(f"detector must be {' or '.join(get_args(Detector))}, got {detector!r}")
    if detector == "adaptive" and importlib.util.find_spec("scenedetect") is None:
        raise UsageError(
            "detector adaptive needs PySceneDetect: pip install 'vidiff[shots]'; detector color needs nothing"
        )


def shot_starts(frames: Iterable[np.ndarray], detector: Detector = "color", min_frames: int = 8) -> Iterator[int]:
    """Numbers of the frames at which a shot begins, in order; frame 0 always is one.

    Args:
        frames: RGB uint8 (H, W, 3) of one size; about 100 pixels a side are enough.
        detector: `color`: `is_cut`, the rule of the whole suite. `adaptive`: PySceneDetect's AdaptiveDetector: a change
            of hue, saturation and brightness of at least 15 (of 255) that is three times that of the two frames before
            and of the two behind; it sees weaker cuts in calm films, and misses some between shots that move.
        min_frames: what begins sooner behind the last beginning does not count; the last shot may be shorter.

    Raises:
        UsageError: see `check_detector`.
    """
    check_detector(detector)
    last = 0
    yield 0
    for start in (_adaptive if detector == "adaptive" else _by_color)(frames):
        if start - last >= min_frames:
            last = start
            yield start


def _adaptive(frames: Iterable[np.ndarray]) -> Iterator[int]:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    found = AdaptiveDetector(min_scene_len=0)
    for number, frame in enumerate(frames):
        time = FrameTimecode(number, 25.0)  # of any rate: it counts frames
        yield from (cut.frame_num for cut in found.process_frame(time, np.ascontiguousarray(frame[..., ::-1])))


def _by_color(frames: Iterable[np.ndarray]) -> Iterator[int]:
    before = None
    for number, frame in enumerate(frames):
        if before is not None and is_cut(before, frame):
            yield number
        before = frame


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
