"""Which videos a folder holds and what their folders say: classes, splits, domains. No torch in here.

Recognised without code: videos flat or in class folders; folders of frames; strips; a CSV manifest; `train/ val/
test/` on top of any of these; two domains `A/ B/` or `trainA/ trainB/ testA/ testB/`; many domains (class folders).
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from vidiff.data.images import MEDIA_SUFFIXES, ReadError, array_layout, image_size, natural, sniff, strip_frames
from vidiff.errors import UsageError

SPLITS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
COLUMNS = ("path", "label", "split", "group", "domain")
ACCEPTED = """\
  a folder of videos (mp4, mkv, avi, webm, gif ...), flat or one folder a class: class/video.mp4
  folders of frames: one folder of same-sized images a video
  strips: one image a video, its square frames side by side
  arrays: .npy, uint8 (frames, videos, height, width) or (videos, frames, height, width, channels)
  manifest.csv with the columns path[,label][,split][,group][,domain]
  train/ val/ test/ on top of any of these, or two domains: A/ B/, or trainA/ trainB/ testA/ testB/"""
_PAIR = re.compile(r"(train|validation|valid|val|test)[_-]?([ab])", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """A candidate video: its path relative to the root, its kind, and what folders or manifest say about it."""

    path: str
    kind: str  # video | strip | frames | image | array
    label: str | None = None
    split: str | None = None
    group: str | None = None
    domain: str | None = None
    files: tuple[str, ...] = ()  # names of the frames, for kind `frames`; number of the video, for kind `array`


@dataclass
class Found:
    """What `discover` found under a root."""

    root: Path
    layout: str = ""
    items: list[Item] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0


def discover(root: Path, stills: bool = False) -> Found:
    """List the videos under a root, without measuring them.

    Args:
        root: folder, manifest (.csv) or single video.
        stills: every image is a video of one frame (photos in class folders).
    Raises:
        UsageError: the root does not exist, or a manifest has a fault (the message names the line).
    """
    root = Path(root)
    if not root.exists():
        raise UsageError(f"{root} does not exist")
    if root.is_file():
        kind = sniff(root)
        if kind in ("text", "empty") and root.suffix.lower() not in MEDIA_SUFFIXES:
            return _read_manifest(root)
        found = Found(root.parent, "one video")
        _sort_out(found, root.parent, [root], stills, singles := [])
        found.items += singles
        return found
    if (root / "manifest.csv").is_file():
        return _read_manifest(root / "manifest.csv")
    found, singles, seen = Found(root), [], set()
    for folder, names, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link that leads back up
            names.clear()
            continue
        seen.add(os.path.realpath(folder))
        names[:] = sorted((n for n in names if n[0] != "."), key=natural)
        paths = [Path(folder, n) for n in sorted(files, key=natural) if n[0] != "."]
        _sort_out(found, root, paths, stills, singles)
    if not found.items:
        found.items = singles
    else:
        reason = "a lone picture: no strip of square frames, and no other image of its size in the folder"
        found.bad += [(item.path, reason) for item in singles]
    found.items.sort(key=lambda item: natural(item.path))
    _read_folders(found)
    return found


def _sort_out(found: Found, root: Path, paths: list[Path], stills: bool, singles: list[Item]) -> None:
    """Sort the files of one folder into videos, strips, one video of frames, lone pictures, bad and ignored."""
    images, videos = [], 0
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            kind = sniff(path) if path.is_file() else "missing"
            size = image_size(path) if kind == "image" else None
        except (OSError, ReadError) as error:
            found.bad.append((name, getattr(error, "reason", None) or f"cannot be opened ({error})"))
            continue
        if kind == "video":
            videos += 1
            found.items.append(Item(name, "video"))
        elif kind == "image" and not stills and strip_frames(*size):
            found.items.append(Item(name, "strip"))
        elif kind == "image":
            images.append((name, size))
        elif kind == "array" and not stills and (layout := array_layout(path)):
            found.items += [Item(name, "array", files=(str(n),)) for n in range(layout[0])]
        elif path.suffix.lower() in MEDIA_SUFFIXES:
            found.bad.append((name, {"empty": "empty file", "text": "a text file"}.get(kind, "not a video or image")))
        else:
            found.ignored += 1
    if not stills and videos:
        found.ignored += len(images)  # thumbnails
    elif not stills and len(images) > 1 and len({size for _, size in images}) == 1:
        files = tuple(PurePosixPath(name).name for name, _ in images)
        found.items.append(Item(PurePosixPath(images[0][0]).parent.as_posix(), "frames", files=files))
    else:
        singles += [Item(name, "image") for name, _ in images]


def _read_folders(found: Found) -> None:
    """Turn folder names into split, domain and label, and name the layout."""
    # The folders above a video; a folder of frames directly under the root may itself be `train` or `A`.
    above = [list(PurePosixPath(i.path).parts[: None if i.kind == "frames" else -1]) for i in found.items]
    splits, domains, names = [None] * len(above), [None] * len(above), []
    tops = {parts[0] if parts else "" for parts in above}
    pairs = {top: match for top in tops if (match := _PAIR.fullmatch(top))}
    if tops and len(pairs) == len(tops) and {"traina", "trainb"} <= {re.sub("[_-]", "", t).lower() for t in tops}:
        matches = [pairs[parts.pop(0)] for parts in above]
        splits = [SPLITS[match[1].lower()] for match in matches]
        domains = [match[2].upper() for match in matches]
        names.append("trainA/ trainB/ folders")
    else:
        if "train" in {top.lower() for top in tops} and {top.lower() for top in tops} <= set(SPLITS):
            splits = [SPLITS[parts.pop(0).lower()] for parts in above]
            names.append("train/ val/ test/ folders")
        if above and all(parts and parts[0].upper() in ("A", "B") for parts in above):
            if len({parts[0].upper() for parts in above}) == 2:
                domains = [parts.pop(0).upper() for parts in above]
                names.append("two domains A/ B/")
    above = [parts[:-1] if item.kind == "frames" else parts for item, parts in zip(found.items, above)]
    labels = [parts[0] if parts else None for parts in above]
    if None in labels or len(set(labels)) < 2:
        labels = domains
    else:
        names.append("class folders")
    kinds = sorted({item.kind for item in found.items})
    plural = {"video": "videos", "strip": "strips", "frames": "folders of frames", "image": "still images"}
    plural |= {"array": "arrays of videos"}
    found.layout = ", ".join(names + [" and ".join(plural[kind] for kind in kinds)])
    found.items = [
        replace(item, split=split, label=label, domain=domain or label)
        for item, split, label, domain in zip(found.items, splits, labels, domains)
    ]


def _read_manifest(path: Path) -> Found:
    """The videos of a CSV manifest; paths are relative to it."""
    root, found, seen = path.parent, Found(path.parent, "CSV manifest"), {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    unknown = [name for name in columns if name not in COLUMNS]
    if "path" not in columns or unknown or len(set(columns)) < len(columns):
        raise UsageError(f"{path}, line 1: columns are {columns}; accepted: path[,label][,split][,group][,domain]")
    for line, row in rows:
        where = f"{path}, line {line}"
        if None in row or None in row.values():
            raise UsageError(
                f"{where}: has {'more' if None in row else 'fewer'} fields than the {len(columns)} columns"
            )
        cell = {name: value.strip() or None for name, value in row.items()}
        if not cell["path"]:
            raise UsageError(f"{where}: the path is empty")
        if (name := PurePosixPath(cell["path"]).as_posix()) in seen:
            raise UsageError(f"{where}: {name} was already listed on line {seen[name]}")
        seen[name] = line
        if not (root / name).exists():
            raise UsageError(f"{where}: {root / name} does not exist")
        if cell.get("split") and cell["split"].lower() not in SPLITS:
            raise UsageError(f"{where}: split is {cell['split']!r}; accepted: train, val, test")
        for column in ("label", "split", "domain"):
            if column in columns and not cell[column]:
                raise UsageError(f"{where}: {column} is empty; fill it in every line or leave the column out")
        label, domain = cell.get("label") or cell.get("domain"), cell.get("domain") or cell.get("label")
        split = SPLITS[cell["split"].lower()] if cell.get("split") else None
        _add_listed(found, root, name, Item(name, "", label, split, cell.get("group"), domain))
    return found


def _add_listed(found: Found, root: Path, name: str, item: Item) -> None:
    """Add one manifest line, its kind told by the content."""
    part = Found(root)
    folder = (root / name).is_dir()
    paths = (
        [p for p in sorted((root / name).iterdir(), key=lambda p: natural(p.name)) if p.name[0] != "."]
        if folder
        else [root / name]
    )
    _sort_out(part, root, paths, False, singles := [])
    kinds = part.items if folder else part.items + singles
    if (kinds and not folder) or [one.kind for one in kinds] == ["frames"]:
        found.items += [replace(item, kind=one.kind, files=one.files) for one in kinds]  # an array holds many
        found.bad += part.bad
    elif not folder:
        found.bad += part.bad or [(name, "not a video or image")]
    else:
        found.bad.append((name, "not a folder of same-sized images"))
