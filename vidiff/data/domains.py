"""Two-domain and many-domain data for translation: unpaired training streams, and paired test clips where they exist."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidiff import keyed
from vidiff.data.datamodule import ClipDataModule
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import Entry
from vidiff.data.loader import ClipPass
from vidiff.data.sampling import clip_span, video_at
from vidiff.errors import UsageError

EMBEDDED_VIDEOS, EMBEDDED_TESTS = 120, 40  # of each domain; the tests are the same scenes in all of them


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
        return hashlib.sha256((self.a.fingerprint + self.b.fingerprint).encode()).hexdigest()[:16]

    def requests(self, slots: np.ndarray) -> list[tuple[int, int, int]]:
        """(slot, video of A, video of B) at each slot of an endless run."""
        return [(slot, a, b) for (slot, a), (_, b) in zip(self.a.requests(slots), self.b.requests(slots))]

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
    """Clips of K domains, each equally often: K slots in a row hold one of each, in an order drawn anew every time.

    The label is the domain, and `target` another label, drawn uniformly over all K by the slot.
    """

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The videos of each domain."""
        labels = np.asarray(self.labels)
        return [np.flatnonzero(labels == k) for k in range(max(self.labels) + 1)]

    def requests(self, slots: np.ndarray) -> list[tuple[int, int]]:
        count, key = len(self.members), (self.seed, self.purpose)
        domains, rounds = video_at(slots, count, *key, "domains"), np.asarray(slots) // count
        videos = np.empty(len(slots), dtype=np.int64)
        for k, members in enumerate(self.members):
            here = domains == k  # the domain's n-th turn is in round n
            videos[here] = members[video_at(rounds[here], len(members), *key, "order", k)]
        return list(zip(np.asarray(slots).tolist(), videos.tolist()))

    def __getitem__(self, request: tuple[int, int]) -> dict[str, Any]:
        target = keyed.key(self.seed, self.purpose, "target", int(request[0])) % len(self.members)
        return {**super().__getitem__(request), "target": target}

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


class DomainDataModule(ClipDataModule):
    """Clips of K domains (class folders), every domain equally often, for many-domain translation and generation.

    A batch holds `clip`, `label` (the domain), `target` (a domain to translate to, uniform over all K), `video`,
    `start`, `slot`. When the global batch is a multiple of K, each one holds every domain equally often.

    Args:
        root: folder with a folder for each domain, with or without train/ val/ test/ above. None: the embedded set in
            the styles plain, night, cartoon and sketch, rendered to `data/shapes_styles` on first use.
        domains: names of the domains to use, label 0 first. None: all there are, in the order of their names.
        paired: test videos of equal file name show the same scene (always so for the embedded sets).
        kwargs: as in ClipDataModule.
    """

    embedded_root = Path("data", "shapes_styles")
    styles = ("plain", "night", "cartoon", "sketch")

    def __init__(
        self,
        root: str | Path | None = None,
        domains: list[str] | None = None,
        paired: bool = False,
        **kwargs: Any,
    ):
        super().__init__(root, num_classes=None, **kwargs)
        self._domains, self._paired = domains, paired

    def _ensure_root(self) -> None:
        if self.embedded:
            from vidiff.data.shapes import render_domains

            render_domains(self.root, EMBEDDED_VIDEOS, styles=self.styles, test_videos=EMBEDDED_TESTS)

    @cached_property
    def domains(self) -> list[str]:
        """Names of the domains; a label is a position in this list."""
        found, asked = self.index.domains, self._domains
        names = list(found if asked is None else asked)
        if unknown := [name for name in names if name not in found]:
            raise UsageError(f"{self.root} has no domain {unknown[0]!r}; it has: {', '.join(found) or 'none'}")
        if len(names) < 2 or len(set(names)) < len(names):
            raise UsageError(
                f"{self.root}: two or more different domains are needed, got {', '.join(names) or 'none'}. Put each "
                "into a folder of its own: A/ B/, trainA/ trainB/ testA/ testB/, or class folders"
            )
        if empty := [name for name in names if not any(e.domain == name for e in self.videos["train"])]:
            raise UsageError(f"{self.root}: the domain {empty[0]} has no training video that is long enough")
        return names

    @property
    def num_classes(self) -> int:
        """Number of domains K."""
        return len(self.domains)

    @property
    def paired(self) -> bool:
        """Whether equal names in the test set mean the same scene."""
        return self._paired or (self.index.root / "shapes.json").is_file()

    def setup(self, stage: str | None = None) -> None:
        _ = self.domains

    def describe(self) -> dict[str, Any]:
        counts = {k: {d: sum(e.domain == d for e in v) for d in self.domains} for k, v in self.videos.items()}
        return super().describe() | {"domains": counts}

    # ---- loading

    def domain_entries(self, split: str, *domains: str) -> list[Entry]:
        """The videos of some domains, each labelled with its domain.

        Raises:
            UsageError: no such split or domain, or a domain without videos in it.
        """
        if split not in self.videos:
            raise UsageError(f"split must be train, val or test, got {split!r}")
        for domain in domains:
            if domain not in self.domains:
                raise UsageError(f"no domain {domain!r}; there are {', '.join(self.domains)}")
            if not any(e.domain == domain for e in self.videos[split]):
                span = clip_span(self.num_frames, self.frame_stride)
                raise UsageError(
                    f"{self.root}: the {split} split holds no video of the domain {domain} with {span} frames or more"
                )
        return [replace(e, label=e.domain) for e in self.videos[split] if e.domain in domains]

    def dataset(self, split: str = "train", seed: int | None = None, purpose: str = "train", **options) -> ClipDataset:
        """Balanced clips of all domains."""
        entries = self.domain_entries(split, *self.domains)
        return self.clips_of(entries, self.domains, seed, purpose, BalancedDataset, **options)

    def counterparts(self, split: str, source: str, target: str) -> list[tuple[Entry, Entry]]:
        """(source, target) videos of a split that show the same scene, by file name; empty where nothing is paired."""
        if not self.paired:
            return []
        sides = []
        for domain in (source, target):
            entries = self.domain_entries(split, domain)
            names = {_scene(e): e for e in entries}
            if len(names) < len(entries):
                raise UsageError(
                    f"{self.root}: {split} videos of the domain {domain} share a name, so they cannot be paired"
                )
            sides.append(names)
        return [(sides[0][name], sides[1][name]) for name in sides[0] if name in sides[1]]

    def eval_clips(
        self,
        split: str,
        num_clips: int,
        seed: int = 0,
        batch_size: int = 32,
        rank: int = 0,
        world: int = 1,
        domain: str | int | None = None,
        paired: bool = False,
        target: str | int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Real clips for evaluation: clip i is a function of (seed, i), the split and the domain.

        Args:
            split, num_clips, seed, batch_size, rank, world: as in ClipDataModule.
            domain: name or number of the domain. None: all of them, balanced (of a pair of domains: the second, what
                translations are compared with; with `paired` the first).
            paired: also the true counterpart, same scene and same frames, in the domain `target`.
            target: name or number of a domain, for `paired`. None: the next one after `domain`.
        Yields:
            ids int64 (B,), clips uint8 (B, C, T, H, W), and labels int64 (B,); with `paired` in their place the
            counterparts uint8 (B, C, T, H, W), or None where this split has none.
        """
        if num_clips < 1:
            raise UsageError(f"num_clips must be at least 1, got {num_clips}")
        if domain is None:
            domain = self._default_domain(paired)
        if paired:
            source = self.domains.index(self.domain(0 if domain is None else domain))
            goal = self.domain((source + 1) % len(self.domains) if target is None else target)
            dataset = self._paired_dataset(split, seed, self.domains[source], goal)
        elif domain is None:
            dataset = self.dataset(split, seed, "evaluation")
        else:
            entries = self.domain_entries(split, self.domain(domain))
            dataset = self.clips_of(entries, self.domains, seed, "evaluation")
        requests = dataset.requests(torch.arange(rank, num_clips, world).numpy())
        for batch in ClipPass(dataset, requests, batch_size, bad_files=self.bad_files, **self.loading):
            yield batch["slot"], batch["clip"], batch.get("truth") if paired else batch["label"]

    def _default_domain(self, paired: bool) -> str | None:
        return None

    def domain(self, name: str | int) -> str:
        """The name of a domain given by name or number."""
        if isinstance(name, int) and 0 <= name < len(self.domains):
            return self.domains[name]
        if name in self.domains:
            return str(name)
        raise UsageError(f"no domain {name!r}; there are {', '.join(self.domains)}")

    def _paired_dataset(self, split: str, seed: int, source: str, target: str) -> ClipDataset:
        build = functools.partial(self.clips_of, classes=self.domains, seed=seed, purpose="evaluation")
        pairs = self.counterparts(split, source, target)
        if not pairs:
            return build(self.domain_entries(split, source))
        # As long as the shorter one of each, so that the same key gives the same start.
        pairs = [[replace(e, num_frames=min(a.num_frames, b.num_frames)) for e in (a, b)] for a, b in pairs]
        dataset = build([a for a, _ in pairs], kind=CounterpartDataset)
        dataset.others = build([b for _, b in pairs])
        return dataset


class PairDataModule(DomainDataModule):
    """Clips of two domains, unpaired: a batch holds `clip_a`, `clip_b`, `video_a`, `video_b`, `start_a`, `start_b`, `slot`.

    Args:
        root: folder with A/ B/, trainA/ trainB/ testA/ testB/ or class folders. None: the embedded set, A = plain and
            B = night, rendered to `data/shapes_ab` on first use.
        domain_a, domain_b: names of the two domains; needed where there are more than two.
        paired: test videos of equal file name show the same scene (always so for the embedded sets).
        kwargs: as in ClipDataModule.
    """

    embedded_root = Path("data", "shapes_ab")
    styles = ("plain", "night")

    def __init__(
        self,
        root: str | Path | None = None,
        domain_a: str | None = None,
        domain_b: str | None = None,
        paired: bool = False,
        **kwargs: Any,
    ):
        if (domain_a is None) != (domain_b is None):
            raise UsageError("name both domain_a and domain_b, or neither")
        super().__init__(root, None if domain_a is None else [domain_a, domain_b], paired, **kwargs)

    @cached_property
    def domains(self) -> list[str]:
        """The names of A and B."""
        names = DomainDataModule.domains.func(self)
        if len(names) != 2:
            raise UsageError(f"{self.root} has {len(names)} domains ({', '.join(names)}): name domain_a and domain_b")
        return names

    @property
    def num_classes(self) -> None:
        """A batch has no labels."""
        return None

    def domain(self, name: str | int) -> str:
        return self.domains["ab".index(name)] if name in ("a", "b") else super().domain(name)

    def _default_domain(self, paired: bool) -> str:
        return "a" if paired else "b"

    def pairs(self, split: str, purpose: str = "train", **options: Any) -> PairDataset:
        """Clips of A and B, keyed apart."""
        parts = zip(self.domains, "ab")
        return PairDataset(
            *(
                self.clips_of(self.domain_entries(split, d), self.domains, None, f"{purpose}.{k}", **options)
                for d, k in parts
            )
        )

    def train_dataset(self) -> PairDataset:
        return self.pairs("train")

    def _pass(self, split: str) -> ClipPass:
        """The centred clip of every video of a split; the smaller domain starts again from its first."""
        rank, world = self._place()
        dataset = self.pairs(split, split, random_start=False)
        requests = [(i, i % len(dataset.a), i % len(dataset.b)) for i in range(rank, len(dataset), world)]
        return ClipPass(dataset, requests, self.batch_size, bad_files=self.bad_files, **self.loading)


def _scene(entry: Entry) -> str:
    """What two videos of the same scene have in common: the name of the file, or of the folder of frames."""
    path = PurePosixPath(entry.path)
    return path.name if entry.kind == "frames" else path.stem
