"""`vidiff data prepare NAME`: a published archive as it unpacks -> a manifest CSV; nothing is copied. No torch in here.

The docstring of each recipe holds where the set comes from, what must lie where, and what label, split and group mean.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.files import write_text
from vidiff.video.filetype import VIDEO_SUFFIXES, list_images, natural
from vidiff.video.reader import ReadError

DEPTH = 4  # folders below --source that are searched for the archive's own folders
KTH_PERSONS = {
    "train": {11, 12, 13, 14, 15, 16, 17, 18},
    "val": {1, 4, 19, 20, 21, 23, 24, 25},
    "test": {2, 3, 5, 6, 7, 8, 9, 10, 22},
}


@dataclass(frozen=True)
class Row:
    """A line of the manifest."""

    path: Path
    label: str | None = None
    split: str | None = None
    group: str | None = None
    domain: str | None = None


@dataclass
class Prepared:
    """What a recipe found: the videos, and remarks for the person."""

    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def ucf101(source: Path) -> Prepared:
    """UCF-101 (Soomro et al. 2012, 1212.0402), https://www.crcv.ucf.edu/data/UCF101.php

    UCF-101/<Class>/v_<Class>_gNN_cNN.avi and ucfTrainTestlist/trainlist01.txt, testlist01.txt, both unpacked below
    the source. Label: the class; split: the official lists 01; group: class and gNN (cut from one recording).
    """
    listed: dict[str, tuple[str, str]] = {}
    for split in ("train", "test"):
        path = _find(source, f"{split}list01.txt")
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                label, _, name = line.split()[0].rpartition("/")
                listed[Path(name).stem] = label, split
    rows = []
    others = 0
    for path in _videos(source, re.compile(r"v_\w+_g\d+_c\d+")):
        if path.stem not in listed:
            others += 1
            continue
        label, split = listed.pop(path.stem)
        rows.append(Row(path, label, split, f"{label}_{path.stem.split('_')[-2]}"))
    notes = [f"{others} videos are in neither list and left out"] if others else []
    if listed:
        notes.append(f"{len(listed)} videos of the lists are not there, such as {min(listed)}")
    return Prepared(rows, notes)


def sky_timelapse(source: Path) -> Prepared:
    """Sky Time-lapse (Xiong et al. 2018, 1709.07592), https://github.com/weixiong-ur/mdgan

    sky_train/<video>/<clip>/<frames>.jpg and sky_test/ alike. A folder of frames is a video; split: the two folders;
    group: the long video that the clips were cut from.
    """
    rows = []
    for split in ("train", "test"):
        top = _find(source, f"sky_{split}")
        for folder, names, _ in os.walk(top):
            names.sort(key=natural)
            path = Path(folder)
            if path != top and len(list_images(path)) > 1:
                rows.append(Row(path, split=split, group=path.relative_to(top).parts[0]))
    return Prepared(rows)


def weizmann(source: Path) -> Prepared:
    """Weizmann actions (Gorelick et al. 2007), https://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html

    <person>_<action>.avi anywhere below the source, as the ten zip files unpack. Label: the action; group: the person,
    so that nobody is in two splits (there is no official one). A number after run, skip or walk is a repetition;
    wave1 and wave2 are actions of their own.
    """
    pattern = re.compile(r"([a-z]+)_(bend|jack|jump|pjump|run|side|skip|walk|wave1|wave2)\d?")
    found = [(path, pattern.fullmatch(path.stem)) for path in _videos(source, pattern)]
    return Prepared([Row(path, label=match[2], group=match[1]) for path, match in found])


def kth(source: Path) -> Prepared:
    """KTH actions (Schuldt et al. 2004), https://www.csc.kth.se/cvap/actions/

    person<NN>_<action>_d<N>_uncomp.avi anywhere below the source. Label: the action; split: the persons as the authors
    divide them (8 train, 8 validation, 9 test); group: the person.
    """
    pattern = re.compile(r"person(\d\d)_(boxing|handclapping|handwaving|jogging|running|walking)_d\d.*")
    rows = []
    for path in _videos(source, pattern):
        match = pattern.fullmatch(path.stem)
        split = next((name for name, persons in KTH_PERSONS.items() if int(match[1]) in persons), None)
        if split is None:
            raise UsageError(f"{path}: KTH has persons 01 to 25")
        rows.append(Row(path, match[2], split, f"person{match[1]}"))
    return Prepared(rows)


def moving_mnist(source: Path) -> Prepared:
    """Moving MNIST (Srivastava et al. 2015, 1502.04681), https://www.cs.toronto.edu/~nitish/unsupervised_video/

    mnist_test_seq.npy: uint8 (20 frames, 10000 videos, 64, 64), read in place. No labels, no official split.
    """
    from vidiff.video.arrays import open_videos  # here, because the help comes through this file without numpy

    path = _find(source, "mnist_test_seq.npy")
    try:
        videos = open_videos(path)
    except ReadError as error:
        raise UsageError(f"{path}: {error.reason}") from None
    return Prepared([Row(path)], [f"the file holds {videos.shape[0]} videos of {videos.shape[1]} frames"])


def faceforensics(source: Path) -> Prepared:
    """FaceForensics (Roessler et al. 2018, 1803.09179) or FaceForensics++ (2019, 1901.08971), the original videos only.

    FaceForensics: train/original/*.avi, val/, test/ alike; group: the name without its last number (one source video).
    FaceForensics++: original_sequences/youtube/<compression>/videos/*.mp4 and, from its GitHub repository, splits/
    train.json, val.json, test.json; without these there is no split. https://github.com/ondyari/FaceForensics
    """
    rows = []
    for split in ("train", "val", "test"):
        for folder in _folders(source, split):
            if (folder / "original").is_dir():
                videos = _videos(folder / "original")
                rows += [Row(p, split=split, group=re.sub(r"_\d+$", "", p.stem)) for p in videos]
    if rows:
        return Prepared(rows)
    top = _find(source, "original_sequences", "or train/original") / "youtube"
    kinds = [k for k in ("raw", "c0", "c23", "c40") if (top / k / "videos").is_dir()]
    if not kinds:
        raise UsageError(f"{top}: no folder raw/videos, c0/videos, c23/videos or c40/videos")
    videos = list(_videos(top / kinds[0] / "videos"))
    notes = [f"{kinds[0]} is used, {', '.join(kinds[1:])} left out"] if len(kinds) > 1 else []
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        path = next(_named(source, f"{split}.json"), None)
        pairs = json.loads(path.read_text(encoding="utf-8")) if path else []
        splits.update({str(name): split for pair in pairs for name in pair})
    if not splits:
        return Prepared([Row(p) for p in videos], [*notes, "no splits/train.json: the manifest has no split"])
    if outside := [p for p in videos if p.stem not in splits]:
        notes.append(f"{len(outside)} videos are in no split and left out")
    return Prepared([Row(p, split=splits[p.stem]) for p in videos if p.stem in splits], notes)


def taichi(source: Path) -> Prepared:
    """Tai-Chi-HD (Siarohin et al. 2019, 2003.00196), https://github.com/AliaksandrSiarohin/video-preprocessing

    train/<youtube id>#<first>#<last>.mp4 and test/ alike, or folders of frames of these names. Split: the two folders;
    group: the YouTube video.
    """
    rows = []
    for split in ("train", "test"):
        for folder in _folders(source, split):
            for path in sorted(folder.iterdir(), key=lambda p: natural(p.name)):
                usable = len(list_images(path)) > 1 if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES
                if "#" in path.name and usable:
                    rows.append(Row(path, split=split, group=path.name.split("#")[0]))
    return Prepared(rows)


def ab(source: Path) -> Prepared:
    """Two domains as CycleGAN publishes them (Zhu et al. 2017, 1703.10593): horse2zebra, monet2photo and the like.

    trainA/ trainB/ testA/ testB/, or A/ B/, with photos (videos of one frame: num_frames 1), videos or folders of
    frames. Domain: A or B; split: train and test. https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/
    """
    from vidiff.data.layouts import discover

    names = ("trainA", "trainB") if next(_named(source, "trainA"), None) else ("A", "B")
    top = _find(source, names[0], "or A").parent
    if not (top / names[1]).is_dir():
        raise UsageError(f"{top}: there is {names[0]}, but no {names[1]}")
    stills = bool(list_images(top / names[0]))
    found = discover(top, stills)
    rows = [Row(top / i.path, split=i.split, domain=i.domain) for i in found.items if i.domain in ("A", "B")]
    notes = ["photos are videos of one frame: set num_frames: 1"] if stills else []
    return Prepared(rows, notes + [f"{path}: {reason}, left out" for path, reason in [*found.bad, *found.passed][:5]])


RECIPES: dict[str, Callable[[Path], Prepared]] = {
    recipe.__name__: recipe
    for recipe in (ucf101, sky_timelapse, weizmann, kth, moving_mnist, faceforensics, taichi, ab)
}


def prepare(name: str, source: Path | str, out: Path | str | None = None) -> tuple[Path, Prepared]:
    """Write the manifest of a published set.

    Args:
        name: one of RECIPES.
        source: folder where the archive was unpacked.
        out: the CSV; default `manifest.csv` in `source`, which makes `source` itself usable as a root.
    Returns:
        The manifest's path, and what is in it.
    Raises:
        UsageError: unknown name, the layout is not there, or `out` exists with other content or cannot be written.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    source = Path(source)
    if not source.is_dir():
        raise UsageError(f"--source {source}: no such folder")
    found = RECIPES[name](source)
    if not found.rows:
        about = (RECIPES[name].__doc__ or "").split("\n\n", 1)[1]
        raise UsageError(f"{source} holds nothing of {name}. Expected is:\n{about.rstrip()}")
    out = Path(out) if out else source / "manifest.csv"
    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out {out}: must end in .csv")
    _write(out, _csv(found.rows, out.parent))
    return out, found


def _csv(rows: list[Row], folder: Path) -> str:
    """The manifest's text: paths relative to its folder, and the columns that are filled."""
    from vidiff.data.manifest import COLUMNS

    columns = [c for c in COLUMNS if c == "path" or any(getattr(row, c) is not None for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        path = Path(os.path.relpath(row.path, folder)).as_posix()
        writer.writerow([path, *(getattr(row, c) or "" for c in columns[1:])])
    return text.getvalue()


def _write(out: Path, text: str) -> None:
    if out.exists():
        if out.read_bytes() == text.encode(errors="surrogateescape"):
            return
        raise UsageError(f"{out} exists and says something else; remove it, or choose another --out")
    write_text(out, text)


def _named(source: Path, name: str) -> Iterator[Path]:
    """Files and folders of a name, the nearest to the source first."""
    if source.name == name:
        yield source
    for depth in range(DEPTH):
        yield from sorted(source.glob("*/" * depth + name))


def _find(source: Path, name: str, otherwise: str = "") -> Path:
    path = next(_named(source, name), None)
    if path is None:
        raise UsageError(f"{source}: no {name} {otherwise}".rstrip() + " in it, nor in the folders below")
    return path


def _folders(source: Path, name: str) -> list[Path]:
    return [path for path in _named(source, name) if path.is_dir()]


def _videos(folder: Path, pattern: re.Pattern | None = None) -> Iterator[Path]:
    """Video files below a folder whose stem matches, in natural order of their paths."""
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.name[0] != ".")
    for path in sorted(paths, key=lambda p: natural(p.as_posix())):
        if (pattern is None or pattern.fullmatch(path.stem)) and path.is_file():
            yield path
