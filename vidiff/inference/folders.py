"""Clips of two folders of videos, a real and a generated one, as metrics take them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vidiff.data.dataset import ClipDataset
from vidiff.data.index import Entry, Index, build_index
from vidiff.data.loader import ClipPass
from vidiff.data.sampling import clip_span, video_at
from vidiff.errors import UsageError, at_least
from vidiff.progress import track
from vidiff.video.open import decoding

Backend = Literal["pyav", "auto", "decord"]
Batches = Iterator[tuple[Tensor, Tensor]]  # (ids (B,), clips uint8 (B, C, T, H, W))
LeftOut = dict[str, list[dict[str, str]]]  # `real` or `fake` -> `path` and `reason` of each file
BYTES_A_PIXEL = 60  # of memory, where the widest extractor works at a clip's own size
MOST_BYTES = 5e9  # for one clip; larger ones take minutes each, if they fit at all
NAMED = 10  # files that are left out, in what is said of them


@dataclass(frozen=True)
class Cut:
    """How clips are cut out of videos, as `compare_folders` is given it; `resolution` None is still to be decided."""

    num_frames: int = 16
    resolution: int | None = None
    frame_stride: int = 1
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self):
        at_least(1, num_frames=self.num_frames, resolution=self.resolution)
        at_least(1, frame_stride=self.frame_stride, batch_size=self.batch_size)

    def fitted(self, resolution: int) -> Cut:
        """The same at this resolution, with batches that memory holds.

        Raises:
            UsageError: not even one clip would fit.
        """
        cost = self.num_frames * resolution**2 * BYTES_A_PIXEL
        if cost > MOST_BYTES:
            most = int((MOST_BYTES / BYTES_A_PIXEL / self.num_frames) ** 0.5)
            raise UsageError(
                f"resolution {resolution}: to measure one clip of {self.num_frames} frames of {resolution} x "
                f"{resolution} would take about {cost / 1e9:.0f} GB of memory; accepted are {MOST_BYTES / 1e9:.0f} GB: "
                f"at most {most}"
            )
        batch_size = max(1, min(self.batch_size, int(MOST_BYTES // cost)))
        return replace(self, resolution=resolution, batch_size=batch_size)


@dataclass(frozen=True)
class Videos:
    """The videos of a folder that a clip fits into, in natural order."""

    index: Index
    entries: list[Entry]


@dataclass(frozen=True)
class FolderPair:
    """Clips of a folder of real videos and of one of generated videos, `num_clips` on each side."""

    real: Videos
    fake: Videos
    num_clips: int
    cut: Cut
    left_out: LeftOut

    @classmethod
    def open(
        cls,
        real: str | Path,
        fake: str | Path,
        cut: Cut,
        num_clips: int | None = None,
        real_span: int | None = None,
        backend: Backend = "pyav",
        say: Callable[[str], None] = warnings.warn,
    ) -> FolderPair:
        """Find the videos of both folders; what was not asked for is as in the generated one.

        Args:
            real, fake, num_clips, backend, say: see `compare_folders`.
            cut: how clips are to be cut.
            real_span: frames that a real video needs; None: those of a clip.

        Raises:
            UsageError: there are not enough videos, or clips would be too large.
        """
        at_least(2, num_clips=num_clips)
        spans = {"real": real_span or clip_span(cut.num_frames, cut.frame_stride), "fake": cut.num_frames}
        left_out: LeftOut = {}
        reals, fakes = (
            _usable(side, root, spans[side], backend, left_out, say) for side, root in (("real", real), ("fake", fake))
        )
        held = len(fakes.entries)
        if held < max(2, num_clips or 0):
            asked = f"num_clips {num_clips}: " if num_clips else "at least 2 are needed: "
            raise UsageError(f"{asked}{fake} holds {held} videos of {cut.num_frames} frames")
        return cls(reals, fakes, num_clips or held, cut.fitted(cut.resolution or _common_size(fakes)), left_out)

    def real_clips(self, prefix: bool, first: int = 0) -> Batches:
        """Of the first videos one clip each, or of all in turn in a seeded order, from clip `first` on."""
        total, end = len(self.real.entries), first + self.num_clips
        requests = [(i, i) for i in range(first, min(end, total))] if prefix else self._in_turn(first, end)
        return self._read(
            self.real, requests, self.cut.num_frames, self.cut.frame_stride, "held-out" if first else "real"
        )

    def stills(self) -> Batches:
        """Twice as many single frames of real videos."""
        return self._read(self.real, self._in_turn(0, 2 * self.num_clips), 1, 1, "real")

    def fake_clips(self) -> Batches:
        """Of each generated video the clip from frame 0: cut to its first frames, it has no other."""
        cut = [replace(e, num_frames=self.cut.num_frames) for e in self.fake.entries[: self.num_clips]]
        requests = [(i, i) for i in range(self.num_clips)]
        return self._read(replace(self.fake, entries=cut), requests, self.cut.num_frames, 1, "generated")

    def _in_turn(self, first: int, end: int) -> list[tuple[int, int]]:
        slots = np.arange(first, end)
        videos = video_at(slots, len(self.real.entries), self.cut.seed, "evaluation")
        return list(zip(slots.tolist(), videos.tolist()))

    def _read(
        self, videos: Videos, requests: list[tuple[int, int]], num_frames: int, stride: int, title: str
    ) -> Batches:
        """The clips of (id, video) pairs; a video that cannot be read ends it."""
        entries = [replace(e, label=None) for e in videos.entries]  # class folders do not matter here
        how = {"seed": self.cut.seed, "purpose": "evaluation", "on_error": "raise"}
        dataset = ClipDataset(videos.index.root, entries, num_frames, self.cut.resolution, stride, **how)
        for batch in track(ClipPass(dataset, requests, self.cut.batch_size), f"{title} clips"):
            yield batch["slot"], batch["clip"]

    def protocol_fields(self, prefix: bool) -> dict[str, Any]:
        """What a protocol says of the data."""
        held = len(self.real.entries)
        one_each = prefix or self.num_clips <= held
        several = f"seeded, {'1 clip' if one_each else 'several clips'} a video of {min(self.num_clips, held)}"
        return {
            "frame_stride": self.cut.frame_stride,
            "fps": self.real.index.fps,
            "split": "all",
            "subset": "prefix" if prefix else several,
            "offset": "real seeded uniform, generated 0",
            "decode": f"crop; real {decoding(self.real.entries)}; generated {decoding(self.fake.entries)}",
            "seed": self.cut.seed,
            "dataset": self.real.index.fingerprint,
        }


def _usable(
    side: str, root: str | Path, span: int, backend: Backend, left_out: LeftOut, say: Callable[[str], None]
) -> Videos:
    """The videos of at least `span` frames; what is left out is said and noted."""
    index = build_index(root, backend)
    short = [(e.path, f"{e.num_frames} frames, a clip needs {span}") for e in index.entries if e.num_frames < span]
    out = [*index.bad, *short]
    left_out[side] = [{"path": path, "reason": reason} for path, reason in out]
    if out:
        total = len(index.entries) + len(index.bad)
        names = "".join(f"\n  {path}: {reason}" for path, reason in out[:NAMED])
        more = f"\n  ... and {len(out) - NAMED} more (all of them in the result)" if len(out) > NAMED else ""
        say(f"{side}: {len(out)} of {total} files of {index.root} are left out:{names}{more}")
    entries = [e for e in index.entries if e.num_frames >= span]
    if not entries:
        longest = max((e.num_frames for e in index.entries), default=0)
        held = f"{len(index.entries)} videos of at most {longest} frames" if index.entries else "no usable video"
        raise UsageError(f"{index.root} holds {held}; a clip needs {span} frames (num_frames, frame_stride)")
    return Videos(index, entries)


def _common_size(videos: Videos) -> int:
    """Height and width of the squares that all videos can be cut to."""
    sizes = {min(e.width, e.height) for e in videos.entries}
    if len(sizes) > 1:
        raise UsageError(f"{videos.index.root} holds videos of several sizes ({sorted(sizes)[:5]}): give a resolution")
    return sizes.pop()
