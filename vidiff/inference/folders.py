"""Clips of two folders of videos, a real and a generated one, as metrics take them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vidiff.data.dataset import ClipDataset
from vidiff.data.index import Entry, build_index
from vidiff.data.loader import ClipPass
from vidiff.data.sampling import clip_span, video_at
from vidiff.errors import UsageError, at_least, listed
from vidiff.progress import track
from vidiff.video.open import decoding

Backend = Literal["pyav", "auto", "decord"]
Batches = Iterator[tuple[Tensor, Tensor]]  # (ids (B,), clips uint8 (B, C, T, H, W))
LeftOut = dict[str, list[dict[str, str]]]  # `real` or `fake` -> `path` and `reason` of each file
BYTES_A_PIXEL = 60  # of memory, where the widest extractor works at a clip's own size
MOST_BYTES = 5e9  # for one clip; larger ones take minutes each, if they fit at all
PURPOSE = "evaluation"  # what real clips are drawn for
NAMED = 10  # files that are left out, in what is said of them


class FolderPair:
    """Clips of a folder of real videos and of one of generated videos, `num_clips` on each side.

    What was not asked for is as in the generated folder.

    Args:
        real, fake, num_frames, num_clips, resolution, frame_stride, seed, batch_size: see `compare_folders`.
        whole_clips: False: single frames of real videos are wanted, which may be shorter than a clip.
        backend, say: see `compare_folders`.

    Raises:
        UsageError: there are not enough videos, or clips would be too large.
    """

    def __init__(
        self,
        real: str | Path,
        fake: str | Path,
        num_frames: int,
        *,
        num_clips: int | None = None,
        resolution: int | None = None,
        frame_stride: int = 1,
        seed: int = 0,
        batch_size: int = 32,
        whole_clips: bool = True,
        backend: Backend = "pyav",
        say: Callable[[str], None] = warnings.warn,
    ):
        at_least(1, num_frames=num_frames, resolution=resolution, frame_stride=frame_stride, batch_size=batch_size)
        at_least(2, num_clips=num_clips)
        self.num_frames, self.frame_stride, self.seed = num_frames, frame_stride, seed
        self.left_out: LeftOut = {}
        self.index = {"real": build_index(real, backend), "fake": build_index(fake, backend)}
        self.reals = self._usable("real", clip_span(num_frames, frame_stride) if whole_clips else 1, say)
        fakes = self._usable("fake", num_frames, say)
        if len(fakes) < max(2, num_clips or 0):
            asked = f"num_clips {num_clips}: " if num_clips else "at least 2 are needed: "
            raise UsageError(f"{asked}{fake} holds {len(fakes)} videos of {num_frames} frames")
        self.num_clips, self.fakes = num_clips or len(fakes), fakes
        self.resolution = resolution or self._common_size()
        self.batch_size = min(batch_size, most_clips(num_frames, self.resolution))

    def _usable(self, side: str, span: int, say: Callable[[str], None]) -> list[Entry]:
        """The videos of at least `span` frames, in natural order; what is left out is said and noted."""
        index = self.index[side]
        entries = [e for e in index.entries if e.num_frames >= span]
        short = [(e.path, f"{e.num_frames} frames, a clip needs {span}") for e in index.entries if e.num_frames < span]
        out = [*index.bad, *short]
        self.left_out[side] = [{"path": path, "reason": reason} for path, reason in out]
        if out:
            total = len(index.entries) + len(index.bad)
            names = listed([f"{path}: {reason}" for path, reason in out], NAMED)
            say(f"{side}: {len(out)} of {total} files of {index.root} are left out:{names}")
        if not entries:
            longest = max((e.num_frames for e in index.entries), default=0)
            held = f"{len(index.entries)} videos of at most {longest} frames" if index.entries else "no usable video"
            raise UsageError(f"{index.root} holds {held}; a clip needs {span} frames (num_frames, frame_stride)")
        return entries

    def _common_size(self) -> int:
        """Height and width of the squares that all generated videos can be cut to."""
        sizes = {min(e.width, e.height) for e in self.fakes}
        if len(sizes) > 1:
            root = self.index["fake"].root
            raise UsageError(f"{root} holds videos of several sizes ({sorted(sizes)[:5]}): give a resolution")
        return sizes.pop()

    def real_clips(self, prefix: bool, first: int = 0) -> Batches:
        """Of the first videos one clip each, or of all in turn in a seeded order, from clip `first` on."""
        title, slots = "held-out" if first else "real", range(first, first + self.num_clips)
        return self._read("real", self.reals, slots, title, self.num_frames, self.frame_stride, in_turn=not prefix)

    def real_videos(self, prefix: bool) -> list[int]:
        """The video that each of `real_clips` is of, by number."""
        if prefix:
            return list(range(self.num_clips))
        return video_at(np.arange(self.num_clips), len(self.reals), self.seed, PURPOSE).tolist()

    def stills(self) -> Batches:
        """Twice as many single frames of real videos."""
        return self._read("real", self.reals, range(2 * self.num_clips), "real", num_frames=1)

    def fake_clips(self) -> Batches:
        """Of each generated video the clip from frame 0: cut to its first frames, it has no other."""
        cut = [replace(e, num_frames=self.num_frames) for e in self.fakes]
        return self._read("fake", cut, range(self.num_clips), "generated", self.num_frames, in_turn=False)

    def _read(
        self, side: str, entries: list[Entry], slots: range, title: str, num_frames: int, stride=1, in_turn=True
    ) -> Batches:
        """The clips of these slots: the videos take turns, or give one each; one that cannot be read ends it."""
        entries = [replace(e, label=None) for e in entries]  # class folders do not matter here
        how = {"seed": self.seed, "purpose": PURPOSE, "on_error": "raise"}
        dataset = ClipDataset(self.index[side].root, entries, num_frames, self.resolution, stride, **how)
        requests = dataset.requests(np.array(slots)) if in_turn else dataset.each_once()[slots.start : slots.stop]
        for batch in track(ClipPass(dataset, requests, self.batch_size), f"{title} clips"):
            yield batch["slot"], batch["clip"]

    def protocol_fields(self, prefix: bool) -> dict[str, Any]:
        """What a protocol says of the data."""
        held, index = len(self.reals), self.index["real"]
        one_each = prefix or self.num_clips <= held
        several = f"seeded, {'1 clip' if one_each else 'several clips'} a video of {min(self.num_clips, held)}"
        return {
            "frame_stride": self.frame_stride,
            "fps": index.fps,
            "split": "all",
            "subset": "prefix" if prefix else several,
            "offset": "real seeded uniform, generated 0",
            "decode": f"crop; real {decoding(self.reals)}; generated {decoding(self.fakes)}",
            "seed": self.seed,
            "dataset": index.fingerprint,
        }


def most_clips(num_frames: int, resolution: int) -> int:
    """Clips that memory holds at once.

    Raises:
        UsageError: not even one.
    """
    cost = num_frames * resolution**2 * BYTES_A_PIXEL
    if cost > MOST_BYTES:
        raise UsageError(
            f"resolution {resolution}: to measure one clip of {num_frames} frames of {resolution} x {resolution} would "
            f"take about {cost / 1e9:.0f} GB of memory; accepted are {MOST_BYTES / 1e9:.0f} GB: at most "
            f"{int((MOST_BYTES / BYTES_A_PIXEL / num_frames) ** 0.5)}"
        )
    return int(MOST_BYTES // cost)
