"""What the names of folders mean: splits, domains, classes, and what only lies next to them. No torch in here."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

_WORDS = {
    "train": "train training trn trainset traindata trainval",
    "val": "val valid validation validate dev devel development valset validset devset eval evaluation",
    "test": "test testing tests tst testset testdata holdout heldout",
}
SPLIT_WORDS = {word: split for split, words in _WORDS.items() for word in words.split()}
# Words that may stand next to the name of a split without a meaning of their own.
_FILLERS = frozenset(
    "set data dataset split subset part videos video clips clip frames images image img all full".split()
)
_GLUED = re.compile(rf"({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})([ab])", re.IGNORECASE)
PREVIEWS = frozenset(
    "thumbnail thumbnails thumb thumbs poster posters preview previews cover covers screenshot screenshots "
    "eadir contact sheet sheets".split()
)


@dataclass
class Meaning:
    """What the folders of each of a list of videos mean.

    Args:
        splits, domains, labels: a name or None for each.
        names: of the kinds of folders that were recognized.
        strays: positions of the videos that lie beside the splits or domains, with the reason.
    """

    splits: list[str | None]
    domains: list[str | None]
    labels: list[str | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    strays: dict[int, str] = field(default_factory=dict)


def split_of(name: str) -> str | None:
    """`train`, `val` or `test` from one of their many names, such as Training, dev or test_set; None for others."""
    found = _parse(name)
    return found[0] if found and not found[1] else None


def read_folders(above: list[list[str]], own: list[bool]) -> Meaning:
    """Split, domain and class of videos.

    Args:
        above: for each video the names of the folders above it, outermost first. A folder of frames is itself the last
            of them, because it may be called `train` or `A`.
        own: for each video whether the last folder is the video itself, and so no class.
    """
    count = len(above)
    meaning = Meaning([None] * count, [None] * count)
    above = [list(parts) for parts in above]
    if found := _split_level(above):
        _take_splits(meaning, above, *found)
    _take_domains(meaning, above)
    folders = [parts[:-1] if itself else parts for parts, itself in zip(above, own)]
    meaning.labels = [parts[0] if parts else None for parts in folders]
    return meaning


def is_preview(name: str) -> bool:
    """Whether by its name a folder holds thumbnails, posters or contact sheets."""
    words = re.findall("[a-z]+", name.lower())
    return bool(words) and all(word in PREVIEWS for word in words)


def _parse(name: str) -> tuple[str, str] | None:
    """(split, what else is in the name) for a name with one split word in it, such as testB or sky_train."""
    if match := _GLUED.fullmatch(name):  # trainA, also all in small letters
        return SPLIT_WORDS[match[1].lower()], match[2].upper()
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall("[a-z]+", spaced.lower())
    splits = [word for word in words if word in SPLIT_WORDS]
    if len(splits) != 1:
        return None
    rest = [word for word in words if word not in SPLIT_WORDS and word not in _FILLERS]
    return SPLIT_WORDS[splits[0]], (rest[0].upper() if rest in (["a"], ["b"]) else " ".join(rest))


def _split_level(above: list[list[str]]) -> tuple[int, set[str]] | None:
    """How deep the split folders lie, and what else is in the names of the training ones (A and B of trainA, trainB).

    They are `train` beside `val` or `test`, or nothing but names of splits. None where there are none.
    """
    for level in range(max(map(len, above), default=0)):
        names = {parts[level] for parts in above if len(parts) > level}
        found = [parsed for name in names if (parsed := _parse(name))]
        rests = defaultdict(set)
        for split, rest in found:
            rests[split].add(rest)
        held_out, known = rests["val"] | rests["test"], rests["train"] | {"", "A", "B"}
        beside = rests["train"] and held_out and ("" in rests["train"] or held_out <= known)
        nothing_else = len(found) == len(names) and all(len(parts) > level for parts in above)
        if beside or (found and nothing_else and held_out | rests["train"] <= {"", "A", "B"}):
            return level, rests["train"] | {"A", "B"}
    return None


def _take_splits(meaning: Meaning, above: list[list[str]], level: int, rests: set[str]) -> None:
    pairs = False
    wrapped = len({tuple(parts[:level]) for parts in above}) == 1  # videos/train, videos/test
    for i, parts in enumerate(above):
        parsed = _parse(parts[level]) if len(parts) > level else None
        if parsed is None:
            meaning.strays[i] = "lies beside the folders for train, val and test"
            continue
        meaning.splits[i], rest = parsed
        pair = rest in ("A", "B")
        pairs = pairs or pair
        outer = [] if wrapped else parts[:level]
        inner = parts[level + 1 :]
        if rest not in rests or rest.lower() in (part.lower() for part in outer):  # test_hard; A/trainA
            rest = ""
        parts[:] = [rest, *outer, *inner] if pair and rest else [*outer, *([rest] if rest else []), *inner]
    meaning.names.append("trainA/ trainB/ folders" if pairs else "train/ val/ test/ folders")


def _take_domains(meaning: Meaning, above: list[list[str]]) -> None:
    inside = [i for i in range(len(above)) if i not in meaning.strays]
    tops = {above[i][0].upper() if above[i] else "" for i in inside}
    if not {"A", "B"} <= tops or any(0 < len(top) < 3 for top in tops - {"A", "B"}):  # letters are classes
        return
    for i in inside:
        if above[i] and above[i][0].upper() in ("A", "B"):
            meaning.domains[i] = above[i].pop(0).upper()
        else:
            meaning.strays[i] = "lies beside the domains A and B"
    if "trainA/ trainB/ folders" not in meaning.names:
        meaning.names.append("two domains A/ B/")
