"""One sample: (slot, video) -> a decoded uint8 clip, its start keyed by the slot."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vidiff import keyed
from vidiff.clip import thwc_to_clip
from vidiff.data.cache import FrameCache, Video
from vidiff.data.index import Entry
from vidiff.data.sampling import clip_indices, clip_span, video_at
from vidiff.errors import UsageError
from vidiff.video.open import FITS, RESIZE_RULE, WIDE, open_reader, read_square
from vidiff.video.patience import within
from vidiff.video.reader import ReadError

ATTEMPTS = 10  # clips tried for one slot before giving up
Known = Callable[[str, np.ndarray], dict[str, Any]]
DECODED_VERSION = 2  # of the frames in the cache: raise it whenever decoding or resizing gives other pixels
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # BT.601


@dataclass(eq=False)
class ClipDataset(Dataset):
    """Clips of a list of videos, addressed by (slot, video). Holds names and numbers only; safe to fork and to pickle.

    Args:
        root: folder that the entries' paths are relative to.
        entries: the videos; each must be long enough for a clip.
        num_frames, frame_stride, resolution, channels: of a clip; channels 3 (RGB) or 1 (luma).
        classes: class names; the label of a video is its class's position (0 without classes).
        seed, purpose: key of the random starts, together with the slot.
        fit: `crop | stretch`; `equirectangular` and `stereo`: all of it, twice as wide as high.
        on_error: `skip`: an unreadable clip is replaced by another one, keyed by (seed, slot, attempt), and the item
            lists it under `bad`; `raise`: ReadError.
        random_start: False takes the centered clip of each video.
        cache: where decoded frames are kept; the clips are the same with and without.
        known: what is known of a clip besides its frames: a function (path of the video, frame numbers) ->
            {name: number or array}; the item gets each under its name, float32.
        patience: seconds for decoding 64 frames before a file counts as unreadable (0: for ever); those in which other
            programs had the cores do not count.
    """

    root: Path | str
    entries: Sequence[Entry]
    num_frames: int
    resolution: int
    frame_stride: int = 1
    channels: int = 3
    classes: Sequence[str] = ()
    seed: int = 0
    purpose: str = "train"
    fit: str = "crop"
    on_error: str = "skip"
    random_start: bool = True
    cache: FrameCache | None = None
    known: Known | None = None
    patience: float = 0.0

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise UsageError(f"channels must be 3 (RGB) or 1 (grey), got {self.channels}")
        if self.fit not in FITS:
            raise UsageError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if self.on_error not in ("skip", "raise"):
            raise UsageError(f"on_error must be skip or raise, got {self.on_error!r}")
        if self.resolution < 1:
            raise UsageError(f"resolution must be at least 1, got {self.resolution}")
        self.root, self.entries = Path(self.root), tuple(self.entries)
        self.span = clip_span(self.num_frames, self.frame_stride)
        self.labels = [self.classes.index(e.label) if e.label is not None else 0 for e in self.entries]
        self.late: dict[int, int] = {}  # video -> times that it took too long
        self.videos = [self._video(i) for i in range(len(self.entries))] if self.cache else []
        if self.cache:
            self.cache.prepare(self.videos, self._decode)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def fingerprint(self) -> str:
        """Identity of what is served: contents, order and clip geometry."""
        what = [e.sha256 for e in self.entries], self.num_frames, self.frame_stride, self.resolution, self.channels
        return hashlib.sha256(repr((what, self.seed, self.purpose, self.fit)).encode()).hexdigest()[:16]

    def path(self, video: int) -> Path:
        """The file or folder of a video."""
        return self.root / self.entries[video].path

    def requests(self, slots: np.ndarray) -> list[tuple[int, int]]:
        """What to ask for, (slot, video), at each slot of an endless run."""
        order = "order" if self.purpose == "train" else self.purpose
        return list(zip(slots.tolist(), video_at(slots, len(self), self.seed, order).tolist()))

    def each_once(self) -> list[tuple[int, int]]:
        """What to ask for to see every video once."""
        return [(i, i) for i in range(len(self))]

    def paths(self, request: tuple[int, int]) -> list[Path]:
        """The files that a request reads."""
        return [self.path(request[1])]

    def __getitem__(self, request: tuple[int, int]) -> dict[str, Any]:
        """The clip of a slot: `clip` uint8 (C, T, H, W), `label`, `video`, `start`, `slot`, and `bad`: a list of
        (path, reason) of what had to be passed over.

        Raises:
            ReadError: the clip cannot be read (`on_error="raise"`), or ten clips in a row cannot.
        """
        slot, video = int(request[0]), int(request[1])
        bad: list[tuple[str, str]] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                video = self._instead(slot, video, attempt)
            try:
                item = self._read(slot, video, attempt)
            except ReadError as error:
                if self.on_error == "raise":
                    raise
                bad.append((error.path, error.reason))
                continue
            return {**item, "label": self.labels[video], "video": video, "slot": slot, "bad": bad}
        names = ", ".join(sorted({path for path, _ in bad})[:5])
        raise ReadError(self.root, f"{ATTEMPTS} clips in a row could not be read ({names}: {bad[-1][1]})")

    def _instead(self, slot: int, video: int, attempt: int) -> int:
        """The video that takes the place of one that cannot be read."""
        return keyed.key(self.seed, self.purpose, "video", slot, attempt) % len(self.entries)

    def _read(self, slot: int, video: int, attempt: int) -> dict[str, Any]:
        length = self.entries[video].num_frames
        start_key = keyed.key(self.seed, self.purpose, "start", slot, attempt) if self.random_start else None
        indices = clip_indices(length, self.num_frames, self.frame_stride, start_key)
        decode = functools.partial(self._decode, video)
        clip = self.cache.read(self.videos[video], indices, decode) if self.cache else decode(indices)
        item = {"clip": torch.from_numpy(clip), "start": int(indices[0])}
        if self.known is not None:
            known = self.known(self.entries[video].path, indices)
            item |= {name: torch.tensor(value, dtype=torch.float32) for name, value in known.items()}
        return item

    def _decode(self, video: int, indices: Sequence[int]) -> np.ndarray:
        """Frames of a video at training resolution, uint8 (C, T, H, W).

        Raises:
            ReadError: naming the video, whichever of its files is at fault.
        """
        entry, path = self.entries[video], self.path(video)
        reader = open_reader(path, entry.kind, entry.decoder, entry.files, entry.white)
        size = (entry.width, entry.height)
        if self.late.get(video, 0) >= 2:  # once may be the machine's fault
            raise ReadError(path, "took too long twice")
        patience = self.patience * max(1.0, len(indices) / 64)
        try:
            frames = within(patience, lambda: read_square(reader, indices, self.resolution, self.fit, size))
        except TimeoutError:
            self.late[video] = self.late.get(video, 0) + 1
            raise ReadError(path, f"still not decoded after {patience:g} s") from None
        except ReadError as error:
            part = "" if error.path == str(path) else f"{Path(error.path).name}: "
            raise ReadError(path, part + error.reason) from None
        if self.channels == 1:
            frames = (frames @ _LUMA + 0.5).astype(np.uint8)[..., None]  # (T, H, W, 3) -> (T, H, W, 1)
        return thwc_to_clip(frames).numpy()

    def _video(self, video: int) -> Video:
        """How the cache knows a video: by its content and by all that decides on the pixels."""
        e = self.entries[video]
        decoding = (DECODED_VERSION, RESIZE_RULE[e.kind], e.decoder, self.resolution, self.fit, self.channels)
        what = (e.sha256, e.kind, e.num_frames, e.width, e.height, e.white, decoding, _libraries())
        key = hashlib.sha256(repr(what).encode()).hexdigest()[:40]
        width = self.resolution * (2 if self.fit in WIDE else 1)
        return Video(key, (self.channels, e.num_frames, self.resolution, width))


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Names and versions of what decodes."""
    found = []
    for name in ("decord", "decord2", "av", "pillow"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
