"""Videos of any length and size before a trained detector: probabilities over time, and a map of where."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.errors import RunError, UsageError, one_by_one
from vidiff.files import check_writable
from vidiff.inference.detector import Detector, read_detector
from vidiff.progress import track
from vidiff.video.filetype import sniff
from vidiff.video.open import open_reader
from vidiff.video.reader import Reader
from vidiff.video.remux import check_output, identities, remux

RED = np.array([255.0, 32.0, 32.0])
OPAQUE = 0.65  # how much of the frame a map of 1 hides
READ = 256  # frames at a time
BATCH = 16  # windows judged at once


@dataclass(frozen=True)
class Detection:
    """What a detector says of a video.

    Args:
        video: the file.
        probabilities: class -> calibrated probability, the mean over the windows.
        windows: of each window its first frame, the frame behind its last, and its probabilities by class.
        heat: the file with the map over the frames, if one was asked for.
        error: why nothing can be said of it, in one line; then the others are empty.
    """

    video: str
    probabilities: dict[str, float]
    windows: list[dict[str, Any]]
    heat: str | None = None
    error: str | None = None


def detect(
    videos: Sequence[str | Path],
    ckpt: str | Path,
    output: str | Path | None = None,
    *,
    say: Callable[[str], None] = warnings.warn,
) -> list[Detection]:
    """Judge videos: whether each is as recorded, generated or tampered with, when, and where.

    A video is cut into windows of as many frames as the detector was trained on, which overlap by half; its frames are
    brought to the detector's resolution as a whole.

    Args:
        videos: files.
        ckpt: a detector of `vidiff detect train`.
        output: folder of the maps over the frames, one .mp4 a video; None: none are written.
        say: called with a line about what cannot be kept as it was.

    Returns:
        What is said of each video. One alone that cannot be judged raises its error instead.

    Raises:
        UsageError: a file is no video or no detector, or a map would replace a video; nothing is written. RunError: the
            one video, or the detector, cannot be read.
    """
    videos, detector = [Path(video) for video in videos], read_detector(ckpt)
    for path in videos:
        if not path.is_file():
            raise UsageError(f"{path}: {'a folder, not a video' if path.is_dir() else 'no such file'}")
        if sniff(path) != "video":
            raise UsageError(f"{path}: not a video")
    targets: list[Path | None] = [None] * len(videos)
    if output is not None:
        targets = [Path(output) / f"{path.stem}.mp4" for path in videos]
        if len(set(targets)) < len(targets):
            raise UsageError(f"output {output}: two of the videos have the same name")
        for target in targets:
            check_output(target, identities(videos))
            check_writable(target)
    maps = dict(zip(videos, targets))

    def judge(path: Path) -> Detection:
        return _detect(path, detector, maps[path], Path(ckpt).name, say)

    judged = one_by_one(videos, judge, "judging", alone=len(videos) == 1)
    return [Detection(str(path), {}, [], error=error) if error else found for path, found, error in judged]


def _detect(path: Path, detector: Detector, target: Path | None, name: str, say: Callable[[str], None]) -> Detection:
    reader = open_reader(path)
    count = reader.info.num_frames
    if count < 2:
        raise RunError(f"{path}: one frame alone cannot be judged")
    starts, probabilities, heat = [], [], _Mean(count)
    for begins, clips in _batches(reader, detector, path.name):
        found, maps = detector.judge(clips)
        starts += begins
        probabilities.append(found)
        for begin, one in zip(begins, maps):
            heat.add(begin, one)
    values = torch.cat(probabilities)
    windows = [
        {"start": start, "end": min(count, start + detector.num_frames)} | _named(detector, row)
        for start, row in zip(starts, values)
    ]
    if target is not None:
        made = f"places that {name} doubts, in red"
        remux(path, target, lambda frames: overlaid(frames, heat.result()), say, made)
    overall = _named(detector, values.mean(0))
    return Detection(str(path), overall, windows, None if target is None else str(target))


def _named(detector: Detector, row: Tensor) -> dict[str, float]:
    return {name: round(float(p), 4) for name, p in zip(detector.classes, row)}


class _Mean:
    """The mean of overlapping maps (T, H, W) over a video of `count` frames, 8 bits a place."""

    def __init__(self, count: int):
        self.count, self.sums, self.times = count, {}, {}

    def add(self, begin: int, maps: Tensor) -> None:
        for frame, one in enumerate(maps, begin):
            if frame < self.count:
                self.sums[frame] = self.sums.get(frame, 0) + one.half()
                self.times[frame] = self.times.get(frame, 0) + 1

    def result(self) -> Iterator[Tensor]:
        """(H, W) of each frame in order."""
        for frame in range(self.count):
            yield (self.sums[frame] / self.times[frame]).float()


def window_starts(count: int, length: int) -> list[int]:
    """First frames of windows that overlap by half and cover `count` frames; the last one ends with the video."""
    last = max(0, count - length)
    return sorted({*range(0, last + 1, max(1, length // 2)), last})


def _batches(reader: Reader, detector: Detector, name: str) -> Iterator[tuple[list[int], Tensor]]:
    """(first frames, clips uint8 (B, 3, T, r, r)) of the windows of a video; a short one's last frame is repeated."""
    count, length, side = reader.info.num_frames, detector.num_frames, detector.resolution
    starts = window_starts(count, length)
    each = max(1, min(BATCH, READ // length))
    for first in track(range(0, len(starts), each), name):
        begins = starts[first : first + each]
        low, high = begins[0], min(count, begins[-1] + length)
        clip = thwc_to_clip(reader.read(range(low, high), side, side))  # (3, t, r, r)
        clip = torch.cat([clip, clip[:, -1:].expand(-1, max(0, length - clip.shape[1]), -1, -1)], 1)
        yield begins, torch.stack([clip[:, b - low : b - low + length] for b in begins])


def overlaid(frames: Iterable[np.ndarray], maps: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """RGB frames uint8 (H, W, 3) under their maps (h, w) in [0, 1]: the redder, the less as recorded."""
    for frame, one in zip(frames, maps):
        size = frame.shape[:2]
        shade = OPAQUE * F.interpolate(one[None, None], size, mode="bilinear")[0, 0].numpy()[..., None]
        yield (frame * (1 - shade) + RED * shade).round().astype(np.uint8)
