"""Which videos train, which validate, which test: a pure function of the index and a seed. No torch in here."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vidiff.data.index import Entry, Index
from vidiff.errors import UsageError


@dataclass(frozen=True)
class Split:
    """How to divide the videos where neither folders nor a manifest do.

    Args:
        val: share of the groups for validation, in [0, 1).
        test: share of the groups for testing, in [0, 1).
        group_by: what must not be torn apart. `video`: each video by itself (byte-identical copies together; a
            manifest's group column where there is one). `class_order`: the position of the file within its class
            (where the same performers appear in the same order in every class). `name:REGEX`: the one capture group
            of a regular expression on the relative path, such as `name:(person\\d+)`.
        seed: of the division; independent of the training seed, so that runs over seeds share their test set.
    """

    val: float = 0.1
    test: float = 0.1
    group_by: str = "video"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("val", "test"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"split.{name} is a share in [0, 1), got {getattr(self, name)}")
        if self.val + self.test >= 1.0:
            raise UsageError(f"split.val + split.test must leave something to train on, got {self.val + self.test}")
        _pattern(self.group_by)


def make_splits(index: Index, split: Split | None = None, every_domain: bool = False) -> dict[str, list[int]]:
    """Positions in `index.entries` for `train`, `val` and `test`, each in order.

    Given splits are kept; what they lack is taken from `train`. Otherwise the groups are shuffled by a hash of the
    seed and the group (what a video holds, not its name, unless it is a rendered one), evenly over the classes; every
    class stays in `train`, and from three groups on `val` and `test` get at least one each. With fewer, `val` and
    `test` are the training videos, with a warning.

    With `every_domain`, `val` and `test` hold videos of each domain; a domain that can spare none lends its training
    videos, with a warning.
    """
    split = split or Split()
    entries = index.entries
    # An encoder's bytes are not the same on every machine; the scenes of a rendered set are, and so are their names.
    by_name = split.group_by == "video" and index.rendered
    parts = _given(entries)
    pool = [i for i, e in enumerate(entries) if e.split in (None, "train")]
    groups = defaultdict(list)
    keys = group_keys([entries[i] for i in pool], "name:(.+)" if by_name else split.group_by)
    for i, group in zip(pool, keys):
        groups[group].append(i)
    asked = {name: share for name, share in (("val", split.val), ("test", split.test)) if share}
    count = len(groups)
    lacking = {name: share for name, share in asked.items() if not parts[name]}
    aside = _set_aside(entries, groups, lacking, split.seed, every_domain)
    for name, chosen in aside.items():
        parts[name] = [i for group in chosen for i in groups.pop(group)]
    train = sorted(i for members in groups.values() for i in members)
    if lent := _lend(entries, parts, train, list(asked), every_domain):
        of_each = " of each domain" if every_domain else ""
        warnings.warn(
            f"{count} group(s) of videos are too few to set some aside{of_each}: "
            f"{' and '.join(lent)} = the training videos, so their figures say nothing about new videos",
            stacklevel=2,
        )
    return {"train": train, "val": sorted(parts["val"]), "test": sorted(parts["test"])}


def _given(entries: Sequence[Entry]) -> dict[str, list[int]]:
    """The `val` and `test` that folders or a manifest assign."""
    given = [e.split for e in entries]
    if None in given and any(given):
        missing = entries[given.index(None)].path
        raise UsageError(f"some videos are assigned to a split and some are not ({missing}); assign all or none")
    if entries and not {None, "train"} & set(given):
        raise UsageError("no video is assigned to the train split")
    return {name: [i for i, s in enumerate(given) if s == name] for name in ("val", "test")}


def _set_aside(
    entries: Sequence[Entry], groups: dict[str, list[int]], shares: dict[str, float], seed: int, every_domain: bool
) -> dict[str, list[str]]:
    """The groups that leave `train` for the parts that lack videos: their share, with `every_domain` one of each
    domain; every class keeps a group in `train`."""
    order, strata = _shuffled(entries, groups, seed)
    left = Counter(label for stratum in strata.values() for label in stratum)  # groups of each class still in train
    aside: dict[str, list[str]] = {}
    for name, share in shares.items():
        wanted = max(1, round(share * len(groups))) if len(groups) >= 3 else 0
        waiting = {domain for stratum in strata.values() for domain, _ in stratum} if every_domain else set()
        aside[name] = []
        for group in list(order):
            domains = {domain for domain, _ in strata[group]}
            full = len(aside[name]) >= wanted and not waiting & domains
            if full or any(left[label] < 2 for label in strata[group]):
                continue
            order.remove(group)
            left.subtract(strata[group])
            waiting -= domains
            aside[name].append(group)
    if "test" in aside and not aside["test"] and len(aside.get("val", ())) > 1:
        aside["test"].append(aside["val"].pop())  # small classes: what can be spared is shared
    return aside


def _lend(
    entries: Sequence[Entry], parts: dict[str, list[int]], train: list[int], asked: list[str], every_domain: bool
) -> list[str]:
    """Add training videos to the parts that have none (of a domain); the names of these parts."""
    lent = []
    for name in asked:
        have = {entries[i].domain for i in parts[name]}
        lack = [i for i in train if entries[i].domain not in have] if every_domain or not parts[name] else []
        if lack:
            parts[name] += lack
            lent.append(name)
    return lent


def group_keys(entries: list[Entry], group_by: str) -> list[str]:
    """The group of each video, as text."""
    pattern = _pattern(group_by)
    if pattern:
        found = [pattern.search(entry.path) for entry in entries]
        if lost := [entry.path for entry, match in zip(entries, found) if match is None or match[1] is None]:
            raise UsageError(f"split.group_by: {pattern.pattern!r} does not match {lost[0]}")
        return [f"name {match[1]}" for match in found]
    if group_by == "class_order":
        seen: dict = defaultdict(int)
        keys = []
        for entry in entries:  # entries are in natural order
            seen[entry.label] += 1
            keys.append(f"position {seen[entry.label]}")
        return keys
    return [f"group {e.group}" if e.group is not None else e.sha256 for e in entries]


def _shuffled(entries, groups: dict[str, list[int]], seed: int) -> tuple[list[str], dict[str, frozenset]]:
    """Groups in the order they are set aside, and the classes in each: any prefix is spread evenly over classes."""
    strata = {g: frozenset((entries[i].domain, entries[i].label) for i in members) for g, members in groups.items()}
    ranked = sorted(groups, key=lambda g: hashlib.sha256(f"{seed}\0{g}".encode()).digest())
    peers = defaultdict(list)
    for group in ranked:
        peers[strata[group]].append(group)
    place = {g: (n + 0.5) / len(same) for same in peers.values() for n, g in enumerate(same)}
    return sorted(ranked, key=place.__getitem__), strata


def _pattern(group_by: str) -> re.Pattern | None:
    if group_by in ("video", "class_order"):
        return None
    if not group_by.startswith("name:"):
        raise UsageError(f"split.group_by must be video, class_order or name:REGEX, got {group_by!r}")
    try:
        pattern = re.compile(group_by[5:])
    except re.error as error:
        raise UsageError(f"split.group_by: {group_by[5:]!r} is not a regular expression ({error})") from None
    if pattern.groups != 1:
        raise UsageError(f"split.group_by: {group_by[5:]!r} must have one capture group, it has {pattern.groups}")
    return pattern
