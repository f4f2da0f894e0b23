"""Videos in a page: walls of clips, and how samples changed, as mp4 in base64 within a budget of bytes."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidiff.errors import RunError
from vidiff.pages.folder import Recorded
from vidiff.pages.markup import Markup, tag
from vidiff.video.pyav import PyAVReader
from vidiff.video.sheet import GAP, grid
from vidiff.video.write import write_mp4

BUDGET = 4_200_000  # bytes of all videos of a page, before base64 makes 4 of 3
COARSER = (26, 32, 38, 44)  # crf of a video that is too large
INK = (24, 25, 28)  # between clips: no light grid in a dark page
TILE = 128  # pixels that a clip of a wall has at least
STEPS, SAMPLES = 6, 8  # rows and columns of the sheet over time


def fitted(path: Path, most: int) -> bytes | None:
    """The bytes of an mp4, encoded anew where they are more than `most`; None where that is not enough.

    Raises:
        ReadError: it cannot be decoded.
    """
    content, frames = path.read_bytes(), _decoded(path)
    if len(content) <= most:
        return content
    for crf in COARSER:
        content = encoded(frames, crf)
        if len(content) <= most:
            return content
    return None


def encoded(frames: np.ndarray, crf: int = 20) -> bytes:
    """A clip (T, H, W, 3) as an mp4 that plays everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, frames, crf=crf)
        return path.read_bytes()


def _decoded(path: Path) -> np.ndarray:
    reader = PyAVReader(path)
    return reader.read(range(reader.info.num_frames))


def player(content: bytes, about: str) -> Markup:
    """A video that plays by itself, without sound, again and again."""
    source = f"data:video/mp4;base64,{base64.b64encode(content).decode('ascii')}"
    plays = dict(loop=True, muted=True, autoplay=True, playsinline=True, controls=True, preload="auto")
    return tag("video", src=source, aria_label=about, **plays)


def newest_samples(run: Recorded) -> tuple[str, np.ndarray] | None:
    """For runs that have no walls: the clips of the newest evaluation, four in a row, and what they are.

    Raises:
        ReadError: the file is damaged.
    """
    final, kept, side = run.dir / "samples" / "final.mp4", kept_samples(run), _side(run)
    path = final if final.is_file() else kept[-1][1] if kept else None
    if path is None or side is None:
        return None
    cells = _cells(_decoded(path), side)
    rows = [[c for row in cells[i::2] for c in row] for i in (0, 1)] if len(cells) > 1 else [sum(cells, [])]
    tiles = [c for start in range(0, len(rows[0]), 4) for row in rows for c in row[start : start + 4]]
    title = "Sources above their translations" if len(cells) > 1 else "Generated"
    return (title, wall(tiles, min(4, len(rows[0])))) if tiles else None


def _side(run: Recorded) -> int | None:
    """Height and width of a clip, in pixels."""
    side = run.data.get("resolution") or run.setting("data", "init_args", "resolution")
    return side if isinstance(side, int) and side > 0 else None


def kept_samples(run: Recorded) -> list[tuple[int, Path]]:
    """(step, video) of each evaluation, in order."""
    found = [(re.fullmatch(r"step-(\d+)\.mp4", p.name), p) for p in (run.dir / "samples").glob("step-*.mp4")]
    return sorted((int(match[1]), path) for match, path in found if match)


def over_time(run: Recorded) -> tuple[np.ndarray, list[str]] | None:
    """A clip (T, H, W, 3) of the same samples at several steps, a row a step, and the label of each row.

    A generator's file shows its clips in one row, a translation's rows of sources above rows of translations: the
    first row of the result are then the sources.
    """
    side, kept = _side(run), kept_samples(run)
    if len(kept) < 2 or side is None:
        return None
    chosen = sorted({round(i) for i in np.linspace(0, len(kept) - 1, min(STEPS, len(kept)))})
    rows: list[tuple[str, list[np.ndarray]]] = []
    for step, path in (kept[i] for i in chosen):
        cells = _cells(_decoded(path), side)
        if len(cells) > 1:
            if not rows:
                rows.append(("source", [c for row in cells[::2] for c in row]))
            cells = [[c for row in cells[1::2] for c in row]]
        rows.append((f"step {step:,}", cells[0]))
    width, length = min(len(row) for _, row in rows), min(len(cell) for _, row in rows for cell in row)
    if not width:
        return None
    columns = sorted({round(i) for i in np.linspace(0, width - 1, min(SAMPLES, width))})
    tiles = [row[i][:length] for _, row in rows for i in columns]
    return grid(tiles, len(columns), side=96, paper=INK), [label for label, _ in rows]


def _cells(frames: np.ndarray, side: int) -> list[list[np.ndarray]]:
    """A clip of clips side by side, cut into rows of clips."""
    _, height, width, _ = frames.shape
    rows, columns = height // side, width // side
    return [
        [frames[:, r * side : (r + 1) * side, c * side : (c + 1) * side] for c in range(columns)] for r in range(rows)
    ]


def wall(clips: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Clips side by side in one clip (T, H, W, 3), small ones enlarged."""
    return grid(clips, columns, side=TILE, paper=INK)


def columns_of(side: int, room: int = 4 * (TILE + GAP)) -> int:
    """How many clips of `side` pixels a wall of about `room` pixels has in a row."""
    shown = side * -(-TILE // side)
    return max(1, min(4, round(room / (shown + GAP))))


class Shelf:
    """Hands out the bytes that a page has for videos.

    Args:
        videos: how many there will be.
        budget: bytes of all of them.
    """

    def __init__(self, videos: int, budget: int = BUDGET):
        self.left, self.videos = budget, max(1, videos)

    def add(self, path: Path, about: str) -> Markup | None:
        """A player of an mp4; None where it is damaged or cannot be made small enough."""
        most = self.left // self.videos
        self.videos = max(1, self.videos - 1)
        try:
            content = fitted(path, most)
        except (RunError, OSError):
            return None
        return self._put(content, about)

    def add_clip(self, frames: np.ndarray, about: str) -> Markup | None:
        """A player of a clip; None where it cannot be made small enough."""
        most = self.left // self.videos
        self.videos = max(1, self.videos - 1)
        return self._put(next((c for crf in (20, *COARSER) if len(c := encoded(frames, crf)) <= most), None), about)

    def _put(self, content: bytes | None, about: str) -> Markup | None:
        if content is None:
            return None
        self.left -= len(content)
        return player(content, about)
