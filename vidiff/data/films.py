"""What the pictures of one folder are: strips, the frames of one film or of several, or photos. No torch in here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from vidiff.video.filetype import strip_frames
from vidiff.video.pictures import Header, open_rgb
from vidiff.video.reader import ReadError
from vidiff.video.stills import FramesReader

# Words in the name of a picture that is made of another one.
BESIDE = frozenset(
    "mask masks matte mattes depth depths flow flows segmentation segmentations seg segm semantic instance instances "
    "annotation annotations disparity disparities normals".split()
)
_CAMERA = re.compile(r"(cam|camera|view|eye|lens|sensor)[ _.-]*$")  # the number after it is no frame number
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")
_DATE = re.compile(r"(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d")


@dataclass(frozen=True)
class Picture:
    """A picture: its path relative to the root, and its header."""

    path: str
    header: Header

    @property
    def stem(self) -> str:
        """The name without folder and ending, in small letters."""
        return PurePosixPath(self.path).stem.lower()

    @property
    def words(self) -> str:
        """What is in the name between the numbers."""
        return " ".join(_NUMBER.split(self.stem)[::2])


@dataclass
class Pictures:
    """What the pictures of a folder are; `passed` are (path, reason)."""

    strips: list[Picture] = field(default_factory=list)
    films: list[list[Picture]] = field(default_factory=list)
    singles: list[Picture] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


def sort_pictures(root: Path, pictures: list[Picture], strips: bool = True) -> Pictures:
    """Separate strips, films and photos, by all pictures of a folder together.

    Args:
        root: what the paths are relative to.
        pictures: of one folder, in natural order.
        strips: False: wide pictures are frames like others.
    """
    out = Pictures()
    wide = [p for p in pictures if strips and strip_frames(*p.header.size)]
    if wide and 2 * len(wide) >= len(pictures) and not _is_wide_film(root, wide):
        out.strips, pictures = wide, [p for p in pictures if p not in wide]
    groups = _by_name(pictures)
    films = [group for group in groups if len(group) > 1]
    for group in _without_masks(films, out):
        _by_size(group, out)
    alone = [group[0] for group in groups if len(group) == 1]
    if films and (out.films or not out.singles):
        reason = "a lone picture beside numbered frames, with a name of another kind"
        out.passed += [(p.path, reason) for p in alone]
    else:
        out.singles += alone
    return out


def is_beside(words: str) -> bool:
    """Whether by its name something is made of something else: a mask, a depth map, optical flow."""
    return any(word in BESIDE for word in re.findall("[a-z]+", words.lower()))


def _is_wide_film(root: Path, wide: list[Picture]) -> bool:
    """Whether wide pictures of one size are the frames of a film: a picture is then more like the next picture than
    its square parts are like each other; in a strip it is the other way round."""
    if len(wide) < 2 or len({p.header.size for p in wide}) > 1:
        return False
    width, height = wide[0].header.size
    count = strip_frames(width, height)
    size = (16 * count, 16) if width > height else (16, 16 * count)
    across = along = 0.0
    try:
        for k in sorted(set(np.linspace(0, len(wide) - 2, 6).astype(int).tolist())):
            pair = [open_rgb(root / p.path).resize(size) for p in wide[k : k + 2]]
            a, b = (np.asarray(p).astype(float).transpose(*((1, 0, 2) if width > height else (0, 1, 2))) for p in pair)
            parts = a.reshape(count, 16, 16, 3)
            across += np.abs(a - b).mean()
            along += np.abs(np.diff(parts, axis=0)).mean()
    except ReadError:
        return False
    return 0 < across < 0.8 * along


def _by_name(pictures: list[Picture]) -> list[list[Picture]]:
    """Pictures whose names differ in their frame number only; all together where the names mean nothing."""
    kinds = defaultdict(list)
    for picture in pictures:
        words = _NUMBER.split(picture.stem)[::2]
        kinds[(*words, PurePosixPath(picture.path).suffix.lower())].append(picture)
    groups = [part for group in kinds.values() for part in _by_other_numbers(group)]
    lone = sum(len(group) == 1 for group in groups)
    return [pictures] if pictures and 2 * lone > len(pictures) else groups


def _by_other_numbers(group: list[Picture]) -> list[list[Picture]]:
    """Names of the same words: one film, or several that differ in a further number and all count anew."""
    if any(_DATE.search(p.stem) for p in group):
        return [group]  # a point in time has many numbers
    names = [_NUMBER.split(p.stem) for p in group]
    varying = [c for c in range(1, len(names[0]), 2) if len({name[c] for name in names}) > 1]
    counters = [c for c in varying if not _CAMERA.search(names[0][c - 1])]
    if len(varying) < 2 or not counters:
        return [group]
    counter = counters[-1]
    parts = defaultdict(list)
    for picture, name in zip(group, names):
        parts[tuple(name[c] for c in varying if c != counter)].append((float(name[counter]), picture))
    first = {min(number for number, _ in part) for part in parts.values()}
    if len(first) > 1 or len(group) < 2 * len(parts):
        return [group]
    return [[picture for _, picture in part] for part in parts.values()]


def _without_masks(films: list[list[Picture]], out: Pictures) -> list[list[Picture]]:
    """The films without those that are masks, depth or flow of another one: by a word in the name, or grey pictures
    with the numbers of colored ones."""
    numbers = {id(film): {tuple(_NUMBER.findall(p.stem)) for p in film} for film in films}
    kept = []
    for film in films:
        made = is_beside(film[0].words)
        grey = all(p.header.grey for p in film)
        of = [
            other
            for other in films
            if other is not film
            and 2 * len(numbers[id(other)] & numbers[id(film)]) >= len(film)
            and not is_beside(other[0].words)
            and (made or (grey and not any(p.header.grey for p in other)))
        ]
        if of:
            reason = f"a mask, depth or the like beside {PurePosixPath(of[0][0].path).name}"
            out.passed += [(p.path, reason) for p in film]
        else:
            kept.append(film)
    return kept


def _by_size(group: list[Picture], out: Pictures) -> None:
    """A film has one size: a few pictures of another one are passed over, many make photos of them all."""
    (size, most), *others = Counter(p.header.size for p in group).most_common()
    odd = [p for p in group if p.header.size != size]
    if others and (most < 3 or len(odd) > max(1, len(group) // 10)):
        out.singles += group
        return
    out.films.append([p for p in group if p.header.size == size])
    for p in odd:
        width, height = p.header.size
        reason = f"a picture of {width}x{height} pixels among {most} of {size[0]}x{size[1]}"
        out.passed.append((p.path, reason))


def are_photos(index) -> bool:
    """Whether folders of pictures are photos rather than films: neighbours differ nearly as much as distant ones.

    Films gave ratios of 0.01 to 0.5 (periodic motion), sorted photographs 0.78 to 0.91. Judged on the four longest.
    """
    films = [e for e in index.entries if e.kind == "frames" and e.num_frames >= 8]
    longest = sorted(films, key=lambda e: -e.num_frames)[:4]
    votes = [_unrelated(FramesReader(index.root / e.path, e.files)) for e in longest]
    return 2 * sum(votes) > len(votes)


def _unrelated(reader: FramesReader) -> bool:
    picks = np.linspace(0, len(reader.files) - 2, 8).astype(int)
    try:
        near, after = (reader.read(picks + i, 32, 32).astype(float) for i in (0, 1))
    except ReadError:
        return False
    neighbours = np.abs(near - after).mean()
    return bool(neighbours > 0.65 * np.abs(near - np.roll(near, 3, axis=0)).mean())
