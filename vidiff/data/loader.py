"""Batches of clips: an endless, resumable stream for training, and one deterministic pass for evaluation.

Not a torch DataLoader on the outside, so that Lightning injects no sampler: which rank sees which slot is decided here.
"""

from __future__ import annotations

import atexit
import csv
import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vidiff.data.dataset import ClipDataset
from vidiff.data.index import Index
from vidiff.data.sampling import epoch_length
from vidiff.errors import RunError, UsageError, listed
from vidiff.files import write_text
from vidiff.video.reader import ReadError

Requests = list[tuple]  # what a batch is requested with: (slot, video), or whatever the dataset's `requests` gives


class BadFiles:
    """The files that could not be read, counted in the main process; stops the run when they are too many.

    Args:
        total: files that there are.
        max_fraction: share of bad files above which `add` raises.
    """

    def __init__(self, total: int, max_fraction: float = 0.1):
        self.total, self.max_fraction = total, max_fraction
        self.files: dict[str, dict[str, Any]] = {}

    @classmethod
    def of_index(cls, index: Index, max_fraction: float) -> BadFiles:
        """The files that an index could not measure, with a warning.

        Raises:
            RunError: they are too many.
        """
        total = len(index.entries) + len(index.bad)
        bad = cls(total, max_fraction)
        for path, reason in index.bad:
            bad.add(index.root / path, reason, found="index")
        if index.bad:
            names = listed([f"{path}: {reason}" for path, reason in index.bad], 5)
            warnings.warn(f"{len(index.bad)} of {total} files cannot be used:{names}", stacklevel=3)
        bad.check()
        return bad

    def add(self, path: Path | str, reason: str, found: str = "decode") -> None:
        """Count a failure; the first one of a file is a warning.

        Args:
            path: the file.
            reason: what is wrong.
            found: `index` (while listing) or `decode` (while training or evaluating).
        Raises:
            RunError: more than `max_fraction` of the files are bad.
        """
        row = self.files.setdefault(str(path), {"found": found, "reason": reason, "failures": 0})
        row["failures"] += 1
        if row["failures"] == 1 and found == "decode":
            warnings.warn(f"cannot read {path}: {reason}; other clips take its place", stacklevel=2)
            self.check()

    def check(self) -> None:
        """Raise RunError if the share of bad files is above the limit."""
        if len(self.files) > self.max_fraction * self.total:
            some = listed([f"{path}: {row['reason']}" for path, row in self.files.items()], 5)
            raise RunError(
                f"{len(self.files)} of {self.total} files cannot be read, more than max_bad_fraction="
                f"{self.max_fraction:g} allows:{some}\nRemove or repair them, or raise max_bad_fraction."
            )

    def write(self, folder: Path) -> Path | None:
        """Write `bad_files.csv` (path, found, failures, reason) into a run's folder; None when every file was fine."""
        if not self.files:
            return None
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["path", "found", "failures", "reason"])
        for name, row in sorted(self.files.items()):
            writer.writerow([name, row["found"], row["failures"], row["reason"]])
        write_text(folder / "bad_files.csv", text.getvalue())
        return folder / "bad_files.csv"


class _Batches(Dataset):
    """What the workers run: a whole batch at a time; errors travel as text, so that the message stays readable."""

    def __init__(self, dataset: ClipDataset):
        self.dataset = dataset

    def __getitems__(self, requests: Requests) -> dict[str, Any]:
        try:
            items = [self.dataset[request] for request in requests]
        except ReadError as error:
            return {"error": (error.path, error.reason)}
        batch: dict[str, Any] = {"bad": [failure for item in items for failure in item.pop("bad")]}
        for name, value in items[0].items():
            column = [item[name] for item in items]
            tensor = isinstance(value, torch.Tensor)  # clips: (C, T, H, W) -> (B, C, T, H, W); the rest: (B,)
            batch[name] = torch.stack(column) if tensor else torch.tensor(column, dtype=torch.int64)
        return batch


def _same(batch: Any) -> Any:
    return batch


def _begin_worker(_: int) -> None:
    """Called in each worker: its process ends without the interpreter's shutdown.

    A spawned worker that has to stop while a thread of torch still hands over a batch would abort, and the main process
    would take it for a crash.
    """
    atexit.register(os._exit, 0)


def _stop(iterator: Any) -> None:
    """End the workers of a torch DataLoader iterator now, not when it happens to be collected."""
    if hasattr(iterator, "_shutdown_workers"):  # only iterators with workers have it
        iterator._shutdown_workers()


class _Stream:
    """Base of both loaders: one torch DataLoader over requested batches, its errors put into words."""

    def __init__(
        self,
        dataset: ClipDataset,
        bad_files: BadFiles | None = None,
        num_workers: int = 0,
        timeout: float = 120.0,
        multiprocessing_context: str | None = None,
    ):
        if num_workers < 0 or timeout < 0:
            raise UsageError(f"num_workers and timeout must not be negative, got {num_workers} and {timeout}")
        if len(dataset) == 0:
            raise UsageError("there is no video to load from")
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.bad_files = bad_files or BadFiles(len(dataset))
        self.multiprocessing_context = multiprocessing_context

    def _start(self, requests: Iterable[Requests]) -> Iterator[dict]:
        workers = self.num_workers > 0
        return iter(
            DataLoader(
                _Batches(self.dataset),
                batch_sampler=requests,
                collate_fn=_same,
                num_workers=self.num_workers,
                timeout=self.timeout if workers else 0,
                multiprocessing_context=self.multiprocessing_context if workers else None,
                worker_init_fn=_begin_worker if workers else None,
                pin_memory=torch.cuda.is_available(),
                # Worker seeds come from here, so that the caller's global random state is left alone.
                generator=torch.Generator().manual_seed(0),
            )
        )

    def _take(self, iterator: Iterator[dict], requests: Requests) -> dict:
        """The next batch of the iterator, which is that of `requests`."""
        try:
            batch = next(iterator)
        except (RuntimeError, EOFError, ConnectionError) as error:
            names = ", ".join(dict.fromkeys(str(path) for request in requests for path in self.dataset.paths(request)))
            if "timed out" in str(error):
                raise RunError(
                    f"no batch within {self.timeout:g} s; a decoder may hang on one of: {names}. "
                    "Remove the file, or raise the data option `timeout`."
                ) from None
            if not isinstance(error, RuntimeError) or re.search("exited unexpectedly|killed by signal", str(error)):
                raise RunError(
                    "a data worker died (out of memory, or a decoder crashed) while reading a batch after or at: "
                    f"{names}. Try fewer workers."
                ) from None
            raise
        if "error" in batch:
            raise ReadError(*batch["error"])
        for path, reason in batch.pop("bad"):
            self.bad_files.add(path, reason)
        return batch


@dataclass(frozen=True)
class _Plan:
    """Which requests this rank makes for which batch: arithmetic, no state."""

    dataset: ClipDataset
    batch_size: int
    rank: int
    world: int
    clips_per_epoch: int

    def __len__(self) -> int:
        return self.clips_per_epoch // (self.batch_size * self.world)

    def requests(self, epoch: int, batch: int) -> Requests:
        first = epoch * self.clips_per_epoch + (batch * self.world + self.rank) * self.batch_size
        return self.dataset.requests(np.arange(first, first + self.batch_size))

    def after(self, epoch: int, batch: int) -> tuple[int, int]:
        return (epoch, batch + 1) if batch + 1 < len(self) else (epoch + 1, 0)

    def onward(self, epoch: int, batch: int) -> Iterator[Requests]:
        """The requests from a position on, without end."""
        while True:
            yield self.requests(epoch, batch)
            epoch, batch = self.after(epoch, batch)


class ClipLoader(_Stream):
    """The training stream: iterating gives the rest of the current epoch, then the next epoch, and so on.

    The order is a pure function of (seed, slot), where the slot is the position in the whole run; rank r gets slots
    rB .. rB+B-1 of each global batch of B * world clips. The state is therefore two integers, and one DataLoader runs
    on across epochs without restarting its workers.

    Args:
        dataset: the training clips.
        batch_size: clips per batch on this process.
        clips_per_epoch: None: the smallest multiple of the number of videos >= 1000. Cut to whole global batches.
        rank, world: this process and the number of processes.
        options: `bad_files`, where failures are counted; `num_workers`, `timeout` (in seconds, for workers) and
            `multiprocessing_context` of the DataLoader.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        batch_size: int,
        clips_per_epoch: int | None = None,
        rank: int = 0,
        world: int = 1,
        **options: Any,
    ):
        super().__init__(dataset, **options)
        if batch_size < 1 or not 0 <= rank < world:
            raise UsageError(f"batch_size must be at least 1 and rank in 0..{world - 1}, got {batch_size} and {rank}")
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.clips_per_epoch = epoch_length(len(dataset), batch_size * world, clips_per_epoch)
        self.plan = _Plan(dataset, batch_size, rank, world, self.clips_per_epoch)
        self.epoch = self.batch = 0  # the batch to hand out next
        self._iterator: Iterator[dict] | None = None  # Lightning shuts the workers of an attribute of this name

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.plan)

    def __iter__(self) -> Iterator[dict]:
        epoch = self.epoch
        while self.epoch == epoch:
            if self._iterator is None:
                self._iterator = self._start(self.plan.onward(self.epoch, self.batch))
            try:
                batch = self._take(self._iterator, self.plan.requests(self.epoch, self.batch))
            except BaseException:
                self.close()
                raise
            # Counted when it is handed out: a checkpoint taken while this batch is in use resumes with the next one.
            self.epoch, self.batch = self.plan.after(self.epoch, self.batch)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands; the same on every rank. Plain numbers and text."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "global_batch": self.batch_size * self.world,
            "clips_per_epoch": self.clips_per_epoch,
            "fingerprint": self.dataset.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the batch after the last one handed out. A warning names what differs from the saved run."""
        now = self.state_dict()
        if state["fingerprint"] != now["fingerprint"]:
            warnings.warn(
                "the training data (videos, seed or clip geometry) are not those of the checkpoint: training goes on "
                "at the same position, but is no longer the same run",
                stacklevel=2,
            )
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if any(state[k] != now[k] for k in ("global_batch", "clips_per_epoch")):
            done = epoch * state["clips_per_epoch"] + batch * state["global_batch"]
            epoch, rest = divmod(done, self.clips_per_epoch)
            batch = rest // now["global_batch"]
            warnings.warn(
                f"the global batch was {state['global_batch']} and is {now['global_batch']} (clips per epoch: "
                f"{state['clips_per_epoch']} and {now['clips_per_epoch']}); the stream continues at clip "
                f"{epoch * self.clips_per_epoch + batch * now['global_batch']} of {done} seen",
                stacklevel=2,
            )
        self.close()
        self.epoch, self.batch = epoch, batch

    def close(self) -> None:
        """Stop the workers; the next iteration starts new ones at the same position."""
        _stop(self._iterator)
        self._iterator = None


class ClipPass(_Stream):
    """One pass over a fixed list of clips, the same every time; the last batch may be short.

    Args:
        dataset: the clips; its `purpose` and `seed` key the starts.
        requests: what this process asks the dataset for, one entry a clip.
        batch_size: clips per batch.
        options: as in ClipLoader.
    """

    def __init__(self, dataset: ClipDataset, requests: Requests, batch_size: int, **options: Any):
        super().__init__(dataset, **options)
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        self.batches = [requests[i : i + batch_size] for i in range(0, len(requests), batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict]:
        iterator = self._start(self.batches)
        try:
            for requests in self.batches:
                yield self._take(iterator, requests)
        finally:
            _stop(iterator)
