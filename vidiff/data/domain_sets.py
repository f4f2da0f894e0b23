"""Samples of several domains: unpaired, balanced, and paired where the truth is known."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from vidiff import keyed
from vidiff.data.dataset import ClipDataset
from vidiff.data.sampling import video_at


class PairDataset(Dataset):
    """A clip of A and a clip of B at each slot, in orders that know nothing of each other.

    Args:
        a, b: the clips of the domains; their `purpose` keys order and starts, so it must differ.
    """

    def __init__(self, a: ClipDataset, b: ClipDataset):
        self.a, self.b, self.seed = a, b, a.seed

    def __len__(self) -> int:
        """Videos of the larger domain: what an epoch is measured by."""
        return max(len(self.a), len(self.b))

    @property
    def fingerprint(self) -> str:
        """Identity of what is served: that of both sides."""
        return hashlib.sha256((self.a.fingerprint + self.b.fingerprint).encode()).hexdigest()[:16]

    def requests(self, slots: np.ndarray) -> list[tuple[int, int, int]]:
        """(slot, video of A, video of B) at each slot of an endless run."""
        return [(slot, a, b) for (slot, a), (_, b) in zip(self.a.requests(slots), self.b.requests(slots))]

    def each_once(self) -> list[tuple[int, int, int]]:
        """What to ask for to see every video once; the smaller domain starts again from its first."""
        return [(i, i % len(self.a), i % len(self.b)) for i in range(len(self))]

    def paths(self, request: tuple[int, int, int]) -> list[Path]:
        slot, a, b = request
        return [*self.a.paths((slot, a)), *self.b.paths((slot, b))]

    def __getitem__(self, request: tuple[int, int, int]) -> dict[str, Any]:
        """`clip_a`, `clip_b` uint8 (C, T, H, W), `video_a`, `video_b`, `start_a`, `start_b`, `slot`, `bad`."""
        slot, *videos = request
        item: dict[str, Any] = {"slot": slot, "bad": []}
        for name, dataset, video in zip("ab", (self.a, self.b), videos):
            one = dataset[(slot, video)]
            item["bad"] += one["bad"]
            item.update({f"{key}_{name}": one[key] for key in ("clip", "video", "start")})
        return item


class BalancedDataset(ClipDataset):
    """Clips of K domains, each equally often: K slots in a row hold one of each, in an order drawn anew every time."""

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The videos of each domain."""
        labels = np.asarray(self.labels)
        return [np.flatnonzero(labels == k) for k in range(max(self.labels) + 1)]

    def requests(self, slots: np.ndarray) -> list[tuple[int, int]]:
        count = len(self.members)
        key = (self.seed, self.purpose)
        domains = video_at(slots, count, *key, "domains")
        rounds = np.asarray(slots) // count
        videos = np.empty(len(slots), dtype=np.int64)
        for k, members in enumerate(self.members):
            here = domains == k  # the domain's n-th turn is in round n
            videos[here] = members[video_at(rounds[here], len(members), *key, "order", k)]
        return list(zip(np.asarray(slots).tolist(), videos.tolist()))

    def _instead(self, slot: int, video: int, attempt: int) -> int:
        members = self.members[self.labels[video]]  # the domains stay balanced
        return int(members[keyed.key(self.seed, self.purpose, "video", slot, attempt) % len(members)])


class CounterpartDataset(ClipDataset):
    """Clips with `truth`: the same frames of the same scene in another domain.

    `others` holds the counterpart of each of the videos, of the same length, in the same order.
    """

    others: ClipDataset

    def _read(self, slot: int, video: int, attempt: int) -> dict[str, Any]:
        truth = self.others._read(slot, video, attempt)
        item = super()._read(slot, video, attempt)
        assert item["start"] == truth["start"]
        return {**item, "truth": truth["clip"]}

    def paths(self, request: tuple[int, int]) -> list[Path]:
        return [*super().paths(request), *self.others.paths(request)]
