"""Two-domain and many-domain data for translation: unpaired training streams, paired test clips where there are any."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.dataset import ClipDataset
from vidiff.data.domain_sets import BalancedDataset, CounterpartDataset, PairDataset
from vidiff.data.index import Entry
from vidiff.data.sampling import clip_span
from vidiff.errors import UsageError

EMBEDDED_VIDEOS, EMBEDDED_TESTS = 120, 40  # of each domain; the tests are the same scenes in all of them


class DomainDataModule(ClipDataModule):
    """Clips of K domains (class folders), every domain equally often, for many-domain translation and generation.

    A batch holds `clip`, `label` (the domain), `video`, `start`, `slot`. When the global batch is a multiple of K, each
    one holds every domain equally often.

    Args:
        root: folder with a folder for each domain, with or without train/ val/ test/ above. None: the embedded set in
            the styles plain, night, cartoon and sketch, rendered to `data/shapes_styles` on first use.
        domains: names of the domains to use, label 0 first. None: all there are, in the order of their names.
        paired: test videos of equal file name show the same scene (always so for the embedded sets).
        kwargs: as in ClipDataModule.
    """

    embedded_root, every_domain = Path("data", "shapes_styles"), True
    styles = ("plain", "night", "cartoon", "sketch")

    def __init__(
        self, root: str | Path | None = None, domains: list[str] | None = None, paired: bool = False, **kwargs: Any
    ):
        super().__init__(root=root, num_classes=None, **kwargs)
        self._domains = domains
        self._paired = paired

    def _ensure_root(self) -> None:
        if self.embedded:
            from vidiff.data.shapes.render import render_domains

            options = dict(styles=self.styles, test_videos=EMBEDDED_TESTS, projection=self.projection)
            render_domains(self.root, EMBEDDED_VIDEOS, **options)

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
        return self._paired or self.index.rendered

    def setup(self, stage: str | None = None) -> None:
        """Index and divide the videos, and find the domains; every process finds the same, and the same faults."""
        self.domains  # noqa: B018

    def describe(self) -> dict[str, Any]:
        """What a protocol record holds about the data, with the videos of each domain."""
        counts = {k: {d: sum(e.domain == d for e in v) for d in self.domains} for k, v in self.videos.items()}
        return super().describe() | {"domains": counts}

    # ---- loading

    def domain_entries(self, split: str, *domains: str) -> list[Entry]:
        """The videos of some domains, each labelled with its domain.

        Raises:
            UsageError: no such split or domain, or a domain without videos in it.
        """
        entries = self._videos_of(split)
        for domain in domains:
            if domain not in self.domains:
                raise UsageError(f"no domain {domain!r}; there are {', '.join(self.domains)}")
            if not any(e.domain == domain for e in entries):
                span = clip_span(self.num_frames, self.frame_stride)
                raise UsageError(
                    f"{self.root}: the {split} split holds no video of the domain {domain} with {span} frames or more"
                )
        return [replace(e, label=e.domain) for e in entries if e.domain in domains]

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
        self, *which: Any, paired: bool = False, **more: Any
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """As in ClipDataModule; with `paired` the counterparts `truth` in the place of the labels, or None."""
        for batch in self.eval_batches(*which, paired=paired, **more):
            yield batch["slot"], batch["clip"], batch.get("truth") if paired else batch["label"]

    def _eval_dataset(
        self,
        split: str,
        seed: int,
        domain: str | int | None = None,
        paired: bool = False,
        target: str | int | None = None,
    ) -> ClipDataset:
        """What `eval_batches` reads: of one domain, of all of them in balance, or of pairs.

        Args:
            split, seed: as in `eval_batches`.
            domain: name or number of the domain. None: all of them, balanced (of a pair of domains: the second, what
                translations are compared with; with `paired` the first).
            paired: also `truth`, the counterpart uint8 (B, C, T, H, W) where there is one: same scene, same frames, in
                the domain `target`.
            target: name or number of a domain, for `paired`. None: the next one after `domain`.
        """
        if paired:
            source = self.domains.index(self.domain(0 if domain is None else domain))
            goal = self.domain((source + 1) % len(self.domains) if target is None else target)
            return self._paired_dataset(split, seed, self.domains[source], goal)
        if domain is None:
            return self.dataset(split, seed, "evaluation")
        return self.clips_of(self.domain_entries(split, self.domain(domain)), self.domains, seed, "evaluation")

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
    """Clips of two domains, unpaired.

    A batch holds `clip_a`, `clip_b`, `video_a`, `video_b`, `start_a`, `start_b` and `slot`.

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
        domains = None if domain_a is None else [domain_a, domain_b]
        super().__init__(root=root, domains=domains, paired=paired, **kwargs)

    @cached_property
    def domains(self) -> list[str]:
        """Names of A and B."""
        names = super().domains
        if len(names) != 2:
            raise UsageError(f"{self.root} has {len(names)} domains ({', '.join(names)}): name domain_a and domain_b")
        return names

    @property
    def num_classes(self) -> None:
        """A batch has no labels."""
        return None

    def domain(self, name: str | int) -> str:
        return self.domains["ab".index(name)] if name in ("a", "b") else super().domain(name)

    def _eval_dataset(self, split: str, seed: int, domain: str | int | None = None, **options: Any) -> ClipDataset:
        if domain is None and not options.get("paired"):
            domain = "b"  # what translations are compared with
        return super()._eval_dataset(split, seed, domain, **options)

    def pairs(self, split: str, purpose: str = "train", **options: Any) -> PairDataset:
        """Clips of A and B, keyed apart."""
        sides = {
            side: self.clips_of(self.domain_entries(split, domain), self.domains, None, f"{purpose}.{side}", **options)
            for side, domain in zip("ab", self.domains)
        }
        return PairDataset(**sides)

    def train_dataset(self) -> PairDataset:
        return self.pairs("train")

    def centered_dataset(self, split: str) -> PairDataset:
        return self.pairs(split, split, random_start=False)


def _scene(entry: Entry) -> str:
    """What two videos of the same scene have in common: the name of the file, or of the folder of frames."""
    path = PurePosixPath(entry.path)
    return path.name if entry.kind == "frames" else path.stem
