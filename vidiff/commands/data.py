"""Render the embedded set, check a folder of videos, prepare a published one, preview augmentation."""

# Only `preview` imports torch.

from __future__ import annotations

import inspect
import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

from vidiff.errors import RunError, UsageError


def make(
    *,
    output: Path,
    num_videos: int = 240,
    seed: int = 0,
    num_frames: int = 32,
    resolution: int = 64,
    styles: list[str] | None = None,
    projection: Literal["flat", "equirectangular", "stereo"] = "flat",
) -> None:
    """Render the embedded data set `shapes` to mp4 files.

    Args:
        output: folder to make.
        num_videos: number of videos (of each style).
        seed: of the scenes.
        num_frames: frames of a video.
        resolution: height and width in pixels.
        styles: of plain, night, cartoon, sketch (default plain); two of them make trainA/ and trainB/.
        projection: equirectangular: all around; stereo: two eyes side by side; twice as wide as high.
    """
    from vidiff.data.shapes.render import render_dataset

    record = render_dataset(output, num_videos, seed, num_frames, resolution, tuple(styles or ["plain"]), projection)
    print(f"{output}: {record['files']} videos of {record['frames']} frames, {record['resolution']} px")
    for name, count in record.get("classes", {}).items():
        print(f"  class {name}: {count}")
    for folder, style in record.get("folders", {}).items():
        print(f"  {folder}: {style}")
    for pair, value in record.get("identity_psnr", {}).items():
        print(f"PSNR of the untranslated test clips, {pair}: {value:.2f} dB (a translation has to beat this)")


def check(
    path: Path,
    *,
    stills: bool | None = None,
    backend: Literal["pyav", "auto", "decord"] = "pyav",
    json_: bool = False,
) -> int:
    """Say what a folder holds, and print a configuration that fits.

    Args:
        path: folder, CSV manifest or single video.
        stills: every image is a video of one frame (default: trainA/ trainB/ of unrelated pictures only).
        backend: what reads videos.
        json_: print one JSON object.
    """
    import yaml

    from vidiff.data.advice import advise, index_folder, left_out_lines, summary, summary_lines
    from vidiff.data.layouts import ACCEPTED

    index, photos = index_folder(path, backend, stills)
    if not index.entries:
        lines = [f"{path} holds nothing that can be used.", *left_out_lines(index.bad, index.passed)]
        print(*lines, f"Accepted are:\n{ACCEPTED}", sep="\n", file=sys.stderr)
        return 1
    advice = advise(index, path, backend, bool(stills))
    taken = ["the pictures of a folder look unrelated and are taken for photos; --no-stills makes them a film"] * photos
    report = summary(index, path) | {
        "bad": [{"path": p, "reason": r} for p, r in index.bad],
        "passed_over": [{"path": p, "reason": r} for p, r in index.passed],
        "notes": [*taken, *advice.notes],
    }
    if json_:
        print(json.dumps(report | {"config": advice.config}, indent=2))
        return 0
    print(*summary_lines(report), *left_out_lines(index.bad, index.passed), sep="\n")
    for note in report["notes"]:
        print(f"note: {note}")
    print("\nA config that fits (in data.yaml: vidiff fit --config experiments/NAME.yaml --config data.yaml):\n")
    print(yaml.safe_dump(advice.config, sort_keys=False, allow_unicode=True).rstrip())
    return 0


def info(
    path: Path,
    *,
    split: str = "{}",
    stills: bool | None = None,
    backend: Literal["pyav", "auto", "decord"] = "pyav",
    json_: bool = False,
) -> None:
    """Summarize a folder, with its fingerprint and its division into train, val and test.

    Args:
        path, stills, backend, json_: see `vidiff.commands.data.check`.
        split: JSON, such as '{"val": 0.2, "group_by": "class_order"}'.
    """
    from vidiff.data.advice import index_folder, summary, summary_lines
    from vidiff.data.splits import Split, make_splits

    try:
        division = Split(**json.loads(split))
    except UsageError:
        raise
    except (ValueError, TypeError):
        raise UsageError(f"--split takes a JSON object with val, test, group_by, seed; got {split!r}") from None
    index, _ = index_folder(path, backend, stills)
    if not index.entries:
        raise RunError(f"{path} holds no usable video; `vidiff data check {path}` says why")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = make_splits(index, division)
    counts = {name: len(part) for name, part in parts.items()}
    report = summary(index, path) | {"fingerprint": index.fingerprint, "splits": counts}
    if json_:
        paths = {name: [index.entries[i].path for i in part] for name, part in parts.items()}
        print(json.dumps(report | {"split_paths": paths, "unreadable": len(index.bad)}, indent=2))
        return
    print(*summary_lines(report), sep="\n")
    print(f"unreadable   {len(index.bad)}")
    print(f"passed over  {len(index.passed)}")
    print("splits       " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"fingerprint  {index.fingerprint}")
    for warning in caught:
        print(f"note: {warning.message}")


def recipes() -> None:
    """List the published sets that `prepare` knows, and what it expects to find."""
    from vidiff.data.published import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name}: {inspect.cleandoc(recipe.__doc__)}\n")


def prepare(name: str, *, source: Path, output: Path | None = None) -> None:
    """Write a manifest for a published set; nothing is copied.

    Args:
        name: one of `vidiff data recipes`.
        source: where the archive was unpacked.
        output: the CSV file (default: manifest.csv in the source).
    """
    from vidiff.data.advice import counted
    from vidiff.data.published import prepare as write_manifest

    written, found = write_manifest(name, source, output)
    print(f"{written}: {len(found.rows)} lines")
    for column in ("split", "label", "domain"):
        if counts := Counter(value for row in found.rows if (value := getattr(row, column))):
            print(f"  {column}: {counted(counts, 20)}")
    if groups := {row.group for row in found.rows if row.group}:
        print(f"  groups that stay in one split: {len(groups)}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"next: vidiff data check {written}")


def preview(
    *,
    config: list[str] | None = None,
    data_root: Path | None = None,
    data_augment: str | None = None,
    data_num_frames: int | None = None,
    data_resolution: int | None = None,
    num_clips: int = 6,
    output: Path = Path("preview.png"),
) -> None:
    """Show clips as they are and augmented, side by side, as a contact sheet and as a video.

    Args:
        config: files with a section `data`, as `fit` takes them.
        data_root: folder of videos; this and the following win over the files, as with `fit`.
        data_augment: none, light, standard or strong.
        data_num_frames: frames of a clip.
        data_resolution: height and width in pixels.
        num_clips: clips shown.
        output: contact sheet, a .png; the video lies beside it.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(f"--output {output}: must end in .png")
    if num_clips < 1:
        raise UsageError(f"--num_clips must be at least 1, got {num_clips}")
    from vidiff.data import preview as previews

    sizes = {"num_frames": data_num_frames, "resolution": data_resolution, "batch_size": num_clips}
    data = previews.datamodule(config or [], root=data_root and str(data_root), augment=data_augment, **sizes)
    count, video = previews.preview(data, num_clips, output)
    print(f"{output}: {count} clips, each as it is and augmented; {video}: the same, moving (left, right)")
