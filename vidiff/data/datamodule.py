"""ClipDataModule: a folder of videos as Lightning data: index, splits, the training stream, evaluation clips."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from vidiff.augment.pipeline import build_augment
from vidiff.data.cache import FrameCache, open_cache
from vidiff.data.dataset import ClipDataset, Known
from vidiff.data.films import are_photos
from vidiff.data.index import Entry, Index, build_index
from vidiff.data.layouts import ACCEPTED
from vidiff.data.loader import BadFiles, ClipLoader, ClipPass
from vidiff.data.on_device import to_float
from vidiff.data.sampling import clip_span, drop_short, limited_epoch, process_batch
from vidiff.data.shapes.scene import Truth, embedded, truth_of
from vidiff.data.splits import Split, make_splits
from vidiff.errors import RunError, UsageError, at_least, listed
from vidiff.video.open import decoding
from vidiff.video.spherical import Frames

EMBEDDED_VIDEOS = 240


class ClipDataModule(LightningDataModule):
    """Clips from a folder of videos.

    Args:
        root: folder of videos, of folders of frames or of strips, or a CSV manifest (`vidiff data check DIR` prints
            what is recognized); `~` is the home folder. None: the embedded set, rendered to `data/shapes` on first use.
        num_frames: frames T of a clip.
        resolution: height and width of a clip in pixels.
        frame_stride: distance between the frames of a clip in the video.
        batch_size: clips per batch and process.
        global_batch_size: clips per batch of all processes together; overrides `batch_size`. A run that goes on with
            another number of processes makes the same steps.
        num_workers: decoding processes; 0 decodes in the main process.
        channels: 3 (RGB) or 1 (grey).
        num_classes: None: labels are not used. "auto": the number of class folders. A number: must be that number.
        seed: of the order, the clips' starts and the augmentation.
        augment: `none | light | standard | strong`, or a list of augmentation modules.
        split: shares, grouping and seed of the division into train, val and test where the folders do not give one.
        fit: non-square videos: `crop` (shorter side resized, centre cut out) or `stretch`.
        projection: `equirectangular`: videos show all around; `stereo`: two eyes, side by side. Clips are W = 2 H.
        backend: `pyav` reads every video; `auto`: decord for files on which it was proven exact when they were indexed;
            `decord`: only those.
        on_error: an unreadable clip: `skip` (another one takes its place, counted and listed) or `raise`.
        max_bad_fraction: share of unreadable files above which the run stops.
        clips_per_epoch: None: the smallest multiple of the number of training videos >= 1000; in whole batches.
        timeout: seconds to wait for a batch from the workers before stopping. A file that takes an eighth of it for
            64 frames counts as unreadable. 0: wait for ever.
        stills: every image is a video of one frame (photos in class folders); for `num_frames: 1`.
        multiprocessing_context: how workers start: `fork`, `spawn`, `forkserver`; None: the platform's way.
        cache: decoded frames are kept on `disk` (`$VIDIFF_CACHE_DIR/frames`, shared by workers, processes and runs), in
            `ram` (all decoded at the start, held by each process), or nowhere: `none`. The clips are the same.
        cache_limit_gb: most that is kept, in 10^9 bytes, of all runs together for `disk`. What does not fit is decoded
            each time.
    """

    embedded_root, every_domain = Path("data", "shapes"), False  # every_domain: val and test have some of each

    def __init__(
        self,
        root: str | Path | None = None,
        num_frames: int = 16,
        resolution: int = 32,
        frame_stride: int = 1,
        batch_size: int = 16,
        global_batch_size: int | None = None,
        num_workers: int = 2,
        channels: int = 3,
        num_classes: int | Literal["auto"] | None = None,
        seed: int = 0,
        augment: str | list[nn.Module] = "light",
        split: Split = Split(),
        fit: Literal["crop", "stretch"] = "crop",
        projection: Frames = "flat",
        backend: Literal["pyav", "auto", "decord"] = "pyav",
        on_error: Literal["skip", "raise"] = "skip",
        max_bad_fraction: float = 0.1,
        clips_per_epoch: int | None = None,
        timeout: float = 120.0,
        stills: bool = False,
        multiprocessing_context: str | None = None,
        cache: Literal["none", "ram", "disk"] = "disk",
        cache_limit_gb: float = 4.0,
    ):
        super().__init__()
        if isinstance(num_classes, str) and num_classes != "auto":
            raise UsageError(f"num_classes must be a number, null or auto, got {num_classes!r}")
        if not 0.0 <= max_bad_fraction <= 1.0:
            raise UsageError(f"max_bad_fraction is a share in [0, 1], got {max_bad_fraction}")
        at_least(1, batch_size=batch_size, global_batch_size=global_batch_size)
        if cache not in ("none", "ram", "disk") or cache_limit_gb < 0:
            raise UsageError(f"cache must be none, ram or disk, its limit above 0, got {cache!r}, {cache_limit_gb}")
        if root is not None and not str(root).strip():
            raise UsageError("data.root is empty (an unset variable?): name a folder, or omit it for the embedded set")
        clip_span(num_frames, frame_stride)  # refuses what is below 1
        self.root = Path(root).expanduser() if root is not None else embedded(self.embedded_root, projection)
        self.embedded = root is None
        self.num_frames, self.resolution, self.frame_stride = num_frames, resolution, frame_stride
        self.channels, self.clips_per_epoch = channels, clips_per_epoch
        self.batch_size, self.global_batch_size = batch_size, global_batch_size
        self.seed, self.split, self.backend, self.stills = seed, split, backend, stills
        self.projection, self.fit = projection, fit if projection == "flat" else projection
        self.on_error, self.max_bad_fraction = on_error, max_bad_fraction
        self.loading = dict(num_workers=num_workers, timeout=timeout, multiprocessing_context=multiprocessing_context)
        self.cache, self.cache_limit = cache, int(cache_limit_gb * 1e9)
        self.augment, self._num_classes = build_augment(augment), num_classes

    # ---- what there is

    def prepare_data(self) -> None:
        """Render the embedded set if no root is given, and measure the files once for all processes."""
        self._ensure_root()
        index = build_index(self.root, self.backend, self.stills)
        if are_photos(index):
            warnings.warn(f"{self.root}: unrelated pictures; of photos: data.stills: true, num_frames: 1", stacklevel=2)

    def setup(self, stage: str | None = None) -> None:
        """Index the videos and divide them; every process finds the same, and the same faults."""
        self.videos, self.num_classes  # noqa: B018

    def _ensure_root(self) -> None:
        if self.embedded:
            from vidiff.data.shapes.render import render_dataset

            # Whole or not at all, and left alone when it is there: safe with several processes.
            render_dataset(self.root, videos=EMBEDDED_VIDEOS, projection=self.projection)

    @cached_property
    def index(self) -> Index:
        """What the root holds, measured."""
        self._ensure_root()
        index = build_index(self.root, self.backend, self.stills)
        if not index.entries:
            bad = listed([f"{path}: {reason}" for path, reason in index.bad], 5)
            raise RunError(f"{self.root} holds no usable video.{bad}\nAccepted are:\n{ACCEPTED}")
        return index

    @cached_property
    def bad_files(self) -> BadFiles:
        """The unreadable files so far, of this process."""
        return BadFiles.of_index(self.index, self.max_bad_fraction)

    @cached_property
    def videos(self) -> dict[str, list[Entry]]:
        """The usable videos of `train`, `val` and `test`: divided first, then those too short for a clip left out, so
        that the division does not depend on the clip length."""
        self.bad_files  # noqa: B018  (raises where they are too many)
        division = make_splits(self.index, self.split, self.every_domain)
        parts = {name: [self.index.entries[i] for i in part] for name, part in division.items()}
        return drop_short(parts, self.index.entries, self.num_frames, self.frame_stride, self.root)

    @property
    def num_classes(self) -> int | None:
        """Number of classes, None when labels are not used.

        Raises:
            UsageError: there are no class folders, or not that many.
        """
        if self._num_classes is None:
            return None
        count = len(self.index.classes)
        root = self.root
        if count == 0:
            raise UsageError(f"num_classes={self._num_classes}, but {root} has no class folders ({self.index.layout})")
        if self._num_classes not in ("auto", count):
            names = ", ".join(self.index.classes[:10])
            raise UsageError(f"num_classes={self._num_classes}, but {root} has {count} classes: {names}")
        return count

    @property
    def fingerprint(self) -> str:
        """Identity of the data set: paths, contents, lengths, labels."""
        return self.index.fingerprint

    def describe(self) -> dict[str, Any]:
        """What a protocol record holds about the data; plain values."""
        return {
            "dataset": self.root.resolve().name,
            "layout": self.index.layout,
            "fingerprint": self.fingerprint,
            "videos": {name: len(part) for name, part in self.videos.items()},
            "split": vars(self.split) | {"val_is_train": self.videos["val"] == self.videos["train"]},
            "classes": len(self.index.classes),
            "num_frames": self.num_frames,
            "frame_stride": self.frame_stride,
            "resolution": self.resolution,
            "channels": self.channels,
            "fps": self.index.fps,
            "fit": self.fit,
            "decode": f"{self.fit}; {decoding(self.index.entries)}",
        }

    # ---- loading

    def dataset(self, split: str = "train", seed: int | None = None, purpose: str = "train", **options) -> ClipDataset:
        """The clips of a split."""
        if not (entries := self._videos_of(split)):
            span = clip_span(self.num_frames, self.frame_stride)
            raise UsageError(f"{self.root}: the {split} split holds no video of {span} frames or more")
        return self.clips_of(entries, self.index.classes, seed, purpose, **options)

    def _videos_of(self, split: str) -> list[Entry]:
        if split not in self.videos:
            raise UsageError(f"split must be train, val or test, got {split!r}")
        return self.videos[split]

    def clips_of(
        self,
        entries: list[Entry],
        classes: list[str],
        seed: int | None = None,
        purpose: str = "train",
        kind: type[ClipDataset] = ClipDataset,
        **options,
    ) -> ClipDataset:
        """The clips of some videos, with the geometry and decoding of this datamodule."""
        geometry = self.num_frames, self.resolution, self.frame_stride, self.channels, classes
        key = self.seed if seed is None else seed, purpose
        reading = dict(cache=self.frame_cache, known=self._known(purpose), patience=self.loading["timeout"] / 8)
        return kind(self.index.root, entries, *geometry, *key, self.fit, self.on_error, **reading | options)

    def _known(self, purpose: str) -> Known | None:
        """What the renderer knows of clips of the embedded videos, see `ClipDataset`; None of other videos.

        Augmentation moves the sprites of training clips, so that only an evaluation gets their positions.
        """
        if self._truth is None:
            return None
        return self._truth.speed_and_positions if purpose == "evaluation" else self._truth.speed

    @cached_property
    def _truth(self) -> Truth | None:
        return truth_of(self.index.root, self.resolution)

    @property
    def style(self) -> str | None:
        """The one style of an embedded set; None of several, and of other videos."""
        return self._truth.style if self._truth is not None else None

    @cached_property
    def frame_cache(self) -> FrameCache | None:
        """Where decoded frames are kept."""
        frames = sum(e.num_frames for e in self.index.entries) * (1 if self.projection == "flat" else 2)
        return open_cache(self.cache, self.cache_limit, frames * self.channels * self.resolution**2)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _share(self) -> int:
        """Clips of a batch of this process."""
        return process_batch(self.batch_size, self.global_batch_size, self._place()[1])

    def train_dataset(self) -> ClipDataset:
        """What the training stream reads."""
        return self.dataset("train")

    def train_dataloader(self) -> ClipLoader:
        """The endless training stream of this process."""
        rank, world = self._place()
        dataset, size = self.train_dataset(), self._share()
        limit = getattr(self.trainer, "limit_train_batches", 1.0)
        clips = limited_epoch(len(dataset), size * world, self.clips_per_epoch, limit)
        return ClipLoader(dataset, size, clips, rank, world, bad_files=self.bad_files, **self.loading)

    def val_dataloader(self) -> ClipPass:
        return self._pass("val")

    def test_dataloader(self) -> ClipPass:
        return self._pass("test")

    def _pass(self, split: str) -> ClipPass:
        """The centered clip of every video of a split."""
        rank, world = self._place()
        dataset = self.centered_dataset(split)
        requests = dataset.each_once()[rank::world]
        return ClipPass(dataset, requests, self._share(), bad_files=self.bad_files, **self.loading)

    def centered_dataset(self, split: str) -> ClipDataset:
        """What validation and test read."""
        return self.dataset(split, purpose=split, random_start=False)

    def eval_clips(self, *which: Any, **more: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Ids int64 (B,), clips uint8 (B, C, T, H, W) and labels int64 (B,) of `eval_batches`."""
        for batch in self.eval_batches(*which, **more):
            yield batch["slot"], batch["clip"], batch["label"]

    def eval_batches(
        self,
        split: str,
        num_clips: int,
        seed: int = 0,
        batch_size: int = 32,
        rank: int = 0,
        world: int = 1,
        **domains: Any,
    ) -> Iterator[dict[str, Any]]:
        """Real clips for evaluation: clip i is a function of (seed, i) and the split, whatever the batch or process.

        The videos take turns in a seeded permutation, one clip each, then the next round with other starts.

        Args:
            split: `train | val | test`.
            num_clips: clips over all processes.
            seed: of this evaluation, apart from the training seed.
            batch_size: clips per batch.
            rank, world: this process gets ids rank, rank + world, ...
            domains: see `DomainDataModule`; there are none here.

        Yields:
            `slot` (each once), `clip`, `label`, `video`, `start`, and what is known of embedded videos: `speed`, and
            `positions`, x, y of the sprites in pixels of the clip, float32 (B, T, 2, 2), NaN for a second one that is
            not there. A clip that cannot be read is replaced by another, keyed the same way, and counted in
            `bad_files`.
        """
        if num_clips < 1:
            raise UsageError(f"num_clips must be at least 1, got {num_clips}")
        dataset = self._eval_dataset(split, seed, **domains)
        requests = dataset.requests(torch.arange(rank, num_clips, world).numpy())
        yield from ClipPass(dataset, requests, batch_size, bad_files=self.bad_files, **self.loading)

    def eval_videos(self, split: str, num_clips: int, seed: int = 0, **domains: Any) -> list[int]:
        """The video that each clip of `eval_batches` is of, by number, in the order of the ids."""
        dataset = self._eval_dataset(split, seed, **domains)
        return [video for _, video in dataset.requests(torch.arange(num_clips).numpy())]

    def _eval_dataset(self, split: str, seed: int) -> ClipDataset:
        return self.dataset(split, seed, "evaluation")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """On the device: uint8 -> float [-1, 1]; in training the augmentation in between, keyed by the global slot."""
        if not isinstance(batch, dict):
            return batch
        return self.to_float(batch, augment=self.trainer is not None and self.trainer.training)

    def to_float(self, batch: dict[str, Any], augment: bool) -> dict[str, Any]:
        """The batch with its uint8 clips as float [-1, 1], augmented or not; see `on_device`."""
        if not augment:
            return to_float(batch)
        return to_float(batch, self.augment, self.seed, self._place(), self.num_classes)
