"""What a folder of videos holds, and a configuration that fits: the findings of `vidiff data check` and `info`."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidiff.data.films import are_photos
from vidiff.data.index import Index, build_index
from vidiff.data.splits import group_keys
from vidiff.errors import listed

LENGTHS, SIZES = (1, 2, 4, 8, 16), (16, 32, 64)  # of clips that are proposed
NAMED = 50  # files that cannot be used, in the findings
FAST = 20.0  # frames a second above which every second frame still shows the motion


@dataclass(frozen=True)
class Advice:
    """A configuration whose `data:` section works with the videos, and remarks for the person."""

    config: dict[str, Any]
    notes: list[str]


def index_folder(root: Path, backend: str = "pyav", stills: bool | None = None) -> tuple[Index, bool]:
    """The index of a folder, and whether its pictures were taken for photos without being asked.

    Args:
        root: folder, manifest or single video.
        backend: see `build_index`.
        stills: every image is a video of one frame; None: where two domains hold unrelated pictures.
    """
    index = build_index(root, backend, bool(stills))
    # Two domains of one folder of pictures each: photos for CycleGAN, or one film each.
    places = Counter((e.split, e.domain) for e in index.entries)
    one_each = all(e.kind == "frames" for e in index.entries) and set(places.values()) == {1}
    if stills is None and index.domains == ["A", "B"] and one_each and are_photos(index):
        return build_index(root, backend, stills=True), True
    return index, False


def summary(index: Index, root: Path) -> dict[str, Any]:
    """What an index with usable videos holds, as plain values; `root` as the person named it."""
    lengths = [e.num_frames for e in index.entries]
    sizes = Counter(f"{e.width}x{e.height}" for e in index.entries)
    rates = Counter(round(e.fps, 2) for e in index.entries if e.fps)
    return {
        "root": str(root),
        "layout": index.layout,
        "videos": len(index.entries),
        "frames": {"min": min(lengths), "median": int(statistics.median(lengths)), "max": max(lengths)},
        "sizes": dict(sizes.most_common()),
        "fps": {str(rate): count for rate, count in rates.most_common()},
        "classes": index.class_counts,
        "domains": dict(Counter(e.domain for e in index.entries if e.domain is not None)),
        "given_splits": dict(Counter(e.split for e in index.entries if e.split is not None)),
        "ignored": len(index.passed),
    }


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """A `summary` as lines for a person."""
    frames = report["frames"]
    each = frames["min"] == frames["max"]
    span = f"{frames['min']} each" if each else f"{frames['min']} to {frames['max']}, median {frames['median']}"
    lines = [
        f"{report['root']}: {report['layout']}",
        f"videos       {report['videos']}",
        f"frames       {span}",
        f"sizes        {counted(report['sizes'])}",
        f"fps          {counted(report['fps']) or 'not known (images)'}",
    ]
    if report["classes"]:
        lines.append(f"classes      {len(report['classes'])}: {counted(report['classes'], 20)}")
    if report["domains"] and report["domains"] != report["classes"]:
        lines.append(f"domains      {len(report['domains'])}: {counted(report['domains'])}")
    if report["given_splits"]:
        lines.append(f"given splits {counted(report['given_splits'])}")
    return lines


def left_out_lines(bad: Sequence[tuple[str, str]], passed: Iterable[tuple[str, str]]) -> list[str]:
    """Files that are not used.

    Args:
        bad: (path, reason) of what cannot be used, one line each.
        passed: (path, reason) of what was passed over, by reason, with the first names.
    """
    lines = [f"cannot be used: {len(bad)}{listed([f'{path}: {reason}' for path, reason in bad], NAMED)}"] if bad else []
    reasons: dict[str, list[str]] = {}
    for path, reason in passed:
        reasons.setdefault(reason, []).append(path)
    if reasons:
        lines.append(f"passed over: {sum(map(len, reasons.values()))}")
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        lines.append(f"  {len(paths)}: {reason} ({', '.join(paths[:3])}{more})")
    return lines


def counted(counts: Mapping[str, int], most: int = 6) -> str:
    """`a (3), b (2), and 4 more`: the first names with their counts."""
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:most])
    return shown + (f", and {len(counts) - most} more" if len(counts) > most else "")


def advise(index: Index, root: Path, backend: str = "pyav", stills: bool = False) -> Advice:
    """A configuration that fits an index with usable videos.

    Args:
        index, root: see `summary`.
        backend: what it was indexed with.
        stills: whether its pictures were asked for as photos.
    """
    pair = index.domains == ["A", "B"] and set(index.classes) <= {"A", "B"}
    data = {"root": str(root), **_clip(index)}
    if index.classes and not pair:
        data["num_classes"] = "auto"
    if backend != "pyav":
        data["backend"] = backend
    if all(e.kind == "image" for e in index.entries):
        data["stills"] = True
    if all(e.split is None for e in index.entries):
        data["split"] = {"val": 0.1, "test": 0.1, "group_by": "video"}
    span = (data["num_frames"] - 1) * data["frame_stride"] + 1  # as `clip_span`, which would import torch
    notes = [*_notes_on_splits(index), *_notes_on_videos(index, span, data["resolution"])]
    if not stills and are_photos(index):
        notes.append("the pictures of a folder look unrelated: if they are photos and not a film, use --stills")
    if whites := Counter(f"{e.white:g}" for e in index.entries if e.white is not None):
        levels = ", ".join(f"{white} in {count} video(s)" for white, count in whites.items())
        notes.append(f"pictures of more than 8 bits are scaled; white is {levels}")
    if pair:
        notes.append("two domains: PairDataModule is for translation; ClipDataModule takes all videos as one set")
    return Advice({"data": {"class_path": "PairDataModule" if pair else "ClipDataModule", "init_args": data}}, notes)


def _clip(index: Index) -> dict[str, int]:
    """Size of a clip that fits."""
    lengths = sorted(e.num_frames for e in index.entries)
    # Nine videos in ten must be long enough for a clip; one very short video must not decide for all.
    usable = lengths[len(lengths) // 10]
    frames = max(length for length in LENGTHS if length <= usable)
    smallest = min(min(e.width, e.height) for e in index.entries)
    resolution = max((size for size in SIZES if size <= smallest), default=SIZES[0])
    stride = 2 if (index.fps or 0) > FAST and (frames - 1) * 2 < usable and frames > 1 else 1
    return {"num_frames": frames, "resolution": resolution, "frame_stride": stride}


def _notes_on_splits(index: Index) -> list[str]:
    if any(e.split is not None for e in index.entries):
        return []
    notes = []
    places = Counter(group_keys(list(index.entries), "class_order")).values()
    stills = all(e.kind == "image" for e in index.entries)
    if len(index.classes) > 1 and len(set(places)) == 1 and len(places) > 1 and not stills:
        notes.append(
            f"every class has {len(places)} videos: if the same people or scenes appear in the same order in each "
            "class, set group_by: class_order, so that nobody is in both train and test"
        )
    if len(index.entries) < 3:
        notes.append("fewer than 3 videos: nothing can be set aside, validation will use the training videos")
    return notes


def _notes_on_videos(index: Index, span: int, resolution: int) -> list[str]:
    notes, entries = [], index.entries
    if short := sum(e.num_frames < span for e in entries):
        notes.append(f"{short} of {len(entries)} videos are shorter than {span} frames and will be left out")
    if (smallest := min(min(e.width, e.height) for e in entries)) < resolution:
        notes.append(f"the smallest video is {smallest} px on its short side and will be enlarged")
    if any(e.width != e.height for e in entries):
        notes.append("videos that are not square lose their sides (fit: crop); fit: stretch keeps all and distorts")
    files = len(entries) + len(index.bad)
    if len(index.bad) > 0.1 * files:
        notes.append(
            f"{len(index.bad)} of {files} files cannot be used, and training stops above max_bad_fraction (0.1): "
            "remove them, or raise it"
        )
    if copies := len(entries) - len({e.sha256 for e in entries}):
        notes.append(f"{copies} videos are byte-identical copies of others; copies stay in one split")
    return notes
