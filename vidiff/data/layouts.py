"""Which videos a folder holds and what their folders mean: classes, splits, domains. No torch in here.

Recognized without code: videos flat or in class folders; folders of frames; strips; arrays; a CSV manifest; folders
for train, val and test above or below any of these; two domains `A/ B/` or `trainA/ trainB/ testA/ testB/`; many
domains (class folders).
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from vidiff.data.films import Picture, is_beside, sort_pictures
from vidiff.data.folders import is_preview, read_folders
from vidiff.errors import UsageError
from vidiff.video.arrays import find_order, open_videos
from vidiff.video.filetype import MEDIA_SUFFIXES, SOUND_SUFFIXES, natural, sniff
from vidiff.video.pictures import header
from vidiff.video.provenance import SUFFIX as SIDECAR
from vidiff.video.reader import ReadError

ACCEPTED = """\
  a folder of videos (mp4, mkv, avi, webm, gif ...), flat or one folder a class: class/video.mp4
  folders of frames: one folder of same-sized images a video, or several videos by name: a_0000.png, b_0000.png
  strips: one image a video, its square frames side by side; animated WebP, PNG, AVIF; TIFF stacks
  arrays: .npy, uint8 (videos, frames, height, width, channels), (videos, channels, frames, height, width),
    (videos, frames, channels, height, width), (frames, height, width, channels), (frames, height, width); others with
    the order of their axes in the name: clips.tnhw.npy
  manifest.csv with the columns path[,label][,split][,group][,domain]
  train/ val/ test/ on top of any of these, or two domains: A/ B/, or trainA/ trainB/ testA/ testB/"""
LONE = "a lone picture: no strip of square frames, and not one of a folder of frames of one size"
_PICTURES = ("frames", "image", "strip", "animation")


@dataclass(frozen=True)
class Item:
    """A candidate video: its path relative to the root, its kind, and what folders or a manifest assign to it."""

    path: str
    kind: str  # video | strip | frames | image | animation | array
    label: str | None = None
    split: str | None = None
    group: str | None = None
    domain: str | None = None
    files: tuple[str, ...] = ()  # names of the frames, for kind `frames`; number and order of axes, for kind `array`
    deep: bool = False  # pictures of more than 8 bits


@dataclass
class Found:
    """What `discover` found under a root.

    Args:
        root: what the paths are relative to.
        layout: in words.
        items: candidates.
        bad: (path, reason) of what claims to be a video or picture and is none.
        passed: (path, reason) of everything else that is not used.
    """

    root: Path
    layout: str = ""
    items: list[Item] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


def discover(root: Path | str, stills: bool = False) -> Found:
    """List the videos under a root, without measuring them.

    Args:
        root: folder, manifest (.csv) or single video.
        stills: every image is a video of one frame (photos in class folders).
    Raises:
        UsageError: the root does not exist, or a manifest has a fault (the message names the line).
    """
    from vidiff.data.manifest import is_manifest, read_manifest

    root = Path(root).expanduser()
    if not root.exists():
        raise UsageError(f"{root} does not exist")
    if root.is_file():
        if is_manifest(root):
            return read_manifest(root)
        found = Found(root.parent, "one video")
        sort_folder(found, [root], stills, singles := [])
        found.items += singles
        return found
    if (root / "manifest.csv").is_file():
        return read_manifest(root / "manifest.csv")
    found = Found(root)
    singles = []
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link that leads back up
            names.clear()
            continue
        seen.add(os.path.realpath(folder))
        names[:] = sorted((n for n in names if n[0] != "."), key=natural)
        paths = [Path(folder, n) for n in sorted(files, key=natural) if n[0] != "."]
        sort_folder(found, paths, stills, singles)
    if found.items:  # lone pictures are videos of one frame where there is nothing else
        found.passed += [(item.path, LONE) for item in singles]
    else:
        found.items = singles
    _pass_over_derived(found, stills)
    found.items.sort(key=lambda item: (natural(item.path), [natural(name) for name in item.files[:1]]))
    _read_folders(found)
    return found


def sort_folder(found: Found, paths: list[Path], stills: bool, singles: list[Item], strips: bool = True) -> None:
    """Sort the files of one folder into videos, strips, films of frames, lone pictures, bad ones and others.

    Args:
        found: gets what is found.
        paths: the files, in natural order.
        stills: every picture is a video.
        singles: gets the lone pictures.
        strips: False: no picture is a strip.
    """
    pictures = []
    videos = 0
    for path in paths:
        name = path.relative_to(found.root).as_posix()
        kind = "missing"
        try:
            kind = sniff(path) if path.is_file() else kind
            if kind == "image":
                pictures.append(Picture(name, header(path)))
            elif kind == "video" and path.suffix.lower() not in SOUND_SUFFIXES:
                videos += 1
                found.items.append(Item(name, "video"))
            elif kind == "array" and not stills:
                order = find_order(path)
                found.items += [
                    Item(name, "array", files=(str(n), order)) for n in range(len(open_videos(path, order)))
                ]
            else:
                _name_other(found, path, name, kind)
        except ReadError as error:
            (found.passed if kind == "array" else found.bad).append((name, error.reason))
        except OSError as error:
            found.bad.append((name, f"cannot be opened ({error.strerror or error})"))
    if stills:
        singles += [Item(p.path, "image", deep=p.header.deep) for p in pictures]
        return
    moving = [p for p in pictures if p.header.frames > 1]
    found.items += [Item(p.path, "animation", deep=p.header.deep) for p in moving]
    still = [p for p in pictures if p.header.frames == 1]
    if videos:
        found.passed += [(p.path, "a picture beside videos") for p in still]
        return
    sorted_out = sort_pictures(found.root, still, strips)
    found.items += [Item(p.path, "strip", deep=p.header.deep) for p in sorted_out.strips]
    found.items += [_film(film) for film in sorted_out.films]
    singles += [Item(p.path, "image", deep=p.header.deep) for p in sorted_out.singles]
    found.passed += sorted_out.passed


def _film(pictures: list[Picture]) -> Item:
    folder = PurePosixPath(pictures[0].path).parent.as_posix()
    names = tuple(PurePosixPath(p.path).name for p in pictures)
    return Item(folder, "frames", files=names, deep=any(p.header.deep for p in pictures))


def _name_other(found: Found, path: Path, name: str, kind: str) -> None:
    """A file that is neither video nor picture, with the reason: bad where it claims to be one."""
    if name.endswith(SIDECAR):  # beside each file that this suite makes
        return
    suffix = path.suffix.lower()
    claims = suffix in MEDIA_SUFFIXES or suffix == ".npy"
    reason = {"empty": "empty file", "video": "a sound file"}.get(kind, "not a video or image")
    if path.is_symlink() and not path.exists():
        target = os.readlink(path)
        fetch = ": fetch it with `git annex get`" if "annex/objects" in target else ""
        reason = f"a link to {target}, which does not exist{fetch}"
    elif kind == "text":
        with open(path, "rb") as file:
            head = file.read(64)
        reason = "a text file"
        if head.startswith(b"version https://git-lfs"):
            reason = "a Git LFS pointer: the file itself was not fetched (git lfs pull)"
        elif b"annex/objects" in head:
            reason = "a git-annex pointer: the file itself was not fetched (git annex get)"
        elif suffix in (".ts", ".mts"):
            claims = False  # TypeScript
        elif suffix == ".dvc":
            reason = "a DVC pointer: fetch the file itself with `dvc pull`"
    elif suffix == ".npz":
        reason = "an .npz archive: save each of its arrays as a .npy file"
    elif suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"):
        reason = "an archive: unpack it"
    (found.bad if claims and kind != "video" else found.passed).append((name, reason))


def _pass_over_derived(found: Found, stills: bool) -> None:
    """Pass over masks, depth and flow of other pictures, and thumbnails and posters: by the names of folders, where
    the other pictures are there, too; and pictures that bear the names of the videos."""
    beside = defaultdict(set)  # `*/x`: the folders that hold a picture or folder of frames `x`
    stems = {PurePosixPath(item.path).stem for item in found.items if item.kind == "video"}
    for item in found.items:
        for hidden, folder in _counterparts(item):
            beside[hidden].add(folder)
    reasons = {}
    for n, item in enumerate(found.items):
        if item.kind not in _PICTURES:
            continue
        if item.kind == "frames" and stems and {PurePosixPath(name).stem for name in item.files} <= stems:
            reasons[n] = "pictures with the names of the videos: thumbnails"
        for hidden, folder in _counterparts(item):
            if is_beside(folder) and not all(map(is_beside, beside[hidden])):
                reasons[n] = "masks, depth or the like beside the pictures they are of"
            elif is_preview(folder) and (not stills or not all(map(is_preview, beside[hidden]))):
                reasons[n] = "thumbnails, posters or the like"
    if len(reasons) == len(found.items):
        return
    for n, reason in reasons.items():
        item = found.items[n]
        names = [str(PurePosixPath(item.path, name)) for name in item.files] or [item.path]
        found.passed += [(name, reason) for name in names]
    found.items = [item for n, item in enumerate(found.items) if n not in reasons]


def _counterparts(item: Item) -> list[tuple[str, str]]:
    """(the path without one of its folders, that folder) for each folder of a picture: two that lie in `masks/x` and
    in `film/x` share `*/x`."""
    parts = PurePosixPath(item.path).with_suffix("").parts if item.kind != "frames" else PurePosixPath(item.path).parts
    folders = len(parts) - (item.kind != "frames")
    return [("/".join((*parts[:i], "*", *parts[i + 1 :])), parts[i]) for i in range(folders)]


def _read_folders(found: Found) -> None:
    """Turn folder names into split, domain and label, and name the layout."""
    frames = [item.kind == "frames" for item in found.items]
    above = [list(PurePosixPath(item.path).parts[: None if own else -1]) for item, own in zip(found.items, frames)]
    meaning = read_folders(above, frames)
    found.passed += [(_shown(found.items[i]), reason) for i, reason in meaning.strays.items()]
    kept = [i for i in range(len(found.items)) if i not in meaning.strays]
    labels, names = {i: meaning.labels[i] for i in kept}, meaning.names
    if None in labels.values() or len(set(labels.values())) < 2:
        labels = {i: meaning.domains[i] for i in kept}
    else:
        names = [*names, "class folders"]
    found.items = [
        replace(found.items[i], split=meaning.splits[i], label=labels[i], domain=meaning.domains[i] or labels[i])
        for i in kept
    ]
    kinds = sorted({item.kind for item in found.items})
    plural = {"video": "videos", "strip": "strips", "frames": "folders of frames", "image": "still images"}
    plural |= {"array": "arrays of videos", "animation": "animated images"}
    found.layout = ", ".join(names + [" and ".join(plural[kind] for kind in kinds)])


def _shown(item: Item) -> str:
    """The path of an item, of a folder of frames with its first file."""
    return str(PurePosixPath(item.path, item.files[0])) if item.kind == "frames" else item.path
