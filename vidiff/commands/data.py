"""Render the embedded set, look at a folder of videos, prepare a published one; only `preview` imports torch."""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from vidiff.commands import _preview
from vidiff.files import given_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-verbs."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="make|check|info|prepare|preview")
    make = verbs.add_parser("make", help="render the embedded data set `shapes` to mp4 files", allow_abbrev=False)
    make.add_argument("--out", type=given_path, required=True, help="folder to make")
    make.add_argument("--videos", type=int, default=240, help="number of videos (of each style)")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--frames", type=int, default=32, help="frames per video")
    make.add_argument("--resolution", type=int, default=64, help="height and width in pixels")
    make.add_argument(
        "--styles", nargs="+", default=["plain"], help="plain night cartoon sketch; two make trainA trainB"
    )
    check = verbs.add_parser("check", help="what a folder holds, and a config that fits", allow_abbrev=False)
    check.add_argument("dir", type=given_path, metavar="DIR", help="folder, CSV manifest or single video")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    info = verbs.add_parser("info", help="a summary with fingerprint and splits", allow_abbrev=False)
    info.add_argument("dir", type=given_path, metavar="DIR", help="folder, CSV manifest or single video")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.add_argument("--split", default="{}", help='JSON, such as \'{"val": 0.2, "group_by": "class_order"}\'')
    recipe = verbs.add_parser(
        "prepare",
        help="a manifest for a published set, nothing is copied",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_recipes(),
        allow_abbrev=False,
    )
    recipe.add_argument("name", metavar="NAME", help="one of the recipes below")
    recipe.add_argument(
        "--source", type=given_path, required=True, metavar="DIR", help="where the archive was unpacked"
    )
    recipe.add_argument("--out", type=given_path, metavar="FILE.csv", help="default: manifest.csv in the source")
    preview = verbs.add_parser("preview", help="clips as they are and augmented, side by side", allow_abbrev=False)
    _preview.add_arguments(preview)
    for verb in (check, info):
        verb.add_argument(
            "--stills",
            action=argparse.BooleanOptionalAction,
            help="every image is a video of one frame (default: trainA/ trainB/ of unrelated pictures only)",
        )
        verb.add_argument("--backend", choices=("pyav", "auto", "decord"), default="pyav")


def run(args: argparse.Namespace) -> int:
    """Carry out the verb; the exit code."""
    verbs = {"make": _make, "check": _check, "info": _info, "prepare": _prepare, "preview": _preview.run}
    return verbs[args.action](args)


def _recipes() -> str:
    """What `prepare` knows, and what it expects to find."""
    from vidiff.data.published import RECIPES

    return "recipes:\n" + "\n".join(f"  {name}: {inspect.cleandoc(r.__doc__)}\n" for name, r in RECIPES.items())


def _prepare(args: argparse.Namespace) -> int:
    from vidiff.data.published import prepare

    out, found = prepare(args.name, args.source, args.out)
    print(f"{out}: {len(found.rows)} lines")
    for column in ("split", "label", "domain"):
        if counts := Counter(value for row in found.rows if (value := getattr(row, column))):
            print(f"  {column}: {_counts(counts, 20)}")
    if groups := {row.group for row in found.rows if row.group}:
        print(f"  groups that stay in one split: {len(groups)}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"next: vidiff data check {out}")
    return 0


def _make(args: argparse.Namespace) -> int:
    from vidiff.data.shapes.render import render_dataset

    record = render_dataset(args.out, args.videos, args.seed, args.frames, args.resolution, tuple(args.styles))
    print(f"{args.out}: {record['files']} videos of {record['frames']} frames, {record['resolution']} px")
    for name, count in record.get("classes", {}).items():
        print(f"  class {name}: {count}")
    for folder, style in record.get("folders", {}).items():
        print(f"  {folder}: {style}")
    for pair, value in record.get("identity_psnr", {}).items():
        print(f"PSNR of the untranslated test clips, {pair}: {value:.2f} dB (a translation has to beat this)")
    return 0


def _index(args: argparse.Namespace):
    """The index of a folder, and whether its pictures were taken for photos without being asked."""
    from vidiff.data.films import are_photos
    from vidiff.data.index import build_index

    index = build_index(args.dir, args.backend, bool(args.stills))
    # Two domains of one folder of pictures each: photos for CycleGAN, or one film each.
    one_each = all(e.kind == "frames" for e in index.entries) and all(
        count == 1 for count in Counter((e.split, e.domain) for e in index.entries).values()
    )
    if args.stills is None and index.domains == ["A", "B"] and one_each:
        if are_photos(index):
            return build_index(args.dir, args.backend, stills=True), True
    return index, False


def _check(args: argparse.Namespace) -> int:
    from vidiff.data.layouts import ACCEPTED

    index, photos = _index(args)
    if not index.entries:
        print(f"{args.dir} holds nothing that can be used.", file=sys.stderr)
        _print_bad(index.bad, sys.stderr)
        _print_passed(index.passed, sys.stderr)
        print(f"Accepted are:\n{ACCEPTED}", file=sys.stderr)
        return 1
    config, notes = suggest_config(index, args)
    if photos:
        notes.insert(
            0, "the pictures of a folder look unrelated and are taken for photos; --no-stills makes them a film"
        )
    lists = {"bad": index.bad, "passed_over": index.passed}
    lists = {name: [{"path": p, "reason": r} for p, r in files] for name, files in lists.items()}
    report = summary(index, args.dir) | lists | {"notes": notes}
    if args.json:
        print(json.dumps(report | {"config": config}, indent=2))
        return 0
    _print_summary(index, report)
    _print_bad(index.bad, sys.stdout)
    _print_passed(index.passed, sys.stdout)
    for note in notes:
        print(f"note: {note}")
    print("\nA config that fits (in data.yaml: vidiff fit --config experiments/NAME.yaml --config data.yaml):\n")
    print(_yaml(config))
    return 0


def _info(args: argparse.Namespace) -> int:
    from vidiff.data.splits import Split, make_splits
    from vidiff.errors import RunError, UsageError

    try:
        split = Split(**json.loads(args.split))
    except (ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--split takes a JSON object with val, test, group_by, seed; got {args.split!r}") from None
    index, _ = _index(args)
    if not index.entries:
        raise RunError(f"{args.dir} holds no usable video; `vidiff data check {args.dir}` says why")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = make_splits(index, split)
    report = summary(index, args.dir) | {
        "fingerprint": index.fingerprint,
        "splits": {k: len(v) for k, v in parts.items()},
    }
    if args.json:
        paths = {name: [index.entries[i].path for i in part] for name, part in parts.items()}
        print(json.dumps(report | {"split_paths": paths, "unreadable": len(index.bad)}, indent=2))
        return 0
    _print_summary(index, report)
    print(f"unreadable   {len(index.bad)}")
    print(f"passed over  {len(index.passed)}")
    print("splits       " + ", ".join(f"{name} {count}" for name, count in report["splits"].items()))
    print(f"fingerprint  {index.fingerprint}")
    for warning in caught:
        print(f"note: {warning.message}")
    return 0


def summary(index, root: Path) -> dict[str, Any]:
    """What an index holds, as plain values."""
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


def suggest_config(index, args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """A config whose `data:` section works with these videos, and remarks for the person."""
    from vidiff.data.films import are_photos
    from vidiff.data.splits import group_keys

    entries, notes = index.entries, []
    lengths = sorted(e.num_frames for e in entries)
    # Nine videos in ten must be long enough for a clip; one very short video must not decide for all.
    usable = lengths[len(lengths) // 10]
    frames = max(f for f in (1, 2, 4, 8, 16) if f <= usable)
    # Above 20 frames a second, every second frame still shows the motion, and a clip spans more of it.
    stride = 2 if (index.fps or 0) > 20 and (frames - 1) * 2 < usable and frames > 1 else 1
    span = (frames - 1) * stride + 1
    short = sum(length < span for length in lengths)
    smallest = min(min(e.width, e.height) for e in entries)
    resolution = max((r for r in (16, 32, 64) if r <= smallest), default=16)
    config: dict[str, Any] = {"root": str(args.dir), "num_frames": frames, "resolution": resolution}
    config["frame_stride"] = stride
    pair = index.domains == ["A", "B"] and set(index.classes) <= {"A", "B"}
    if index.classes and not pair:
        config["num_classes"] = "auto"
    if args.backend != "pyav":
        config["backend"] = args.backend
    stills = all(e.kind == "image" for e in entries)
    if stills:
        config["stills"] = True
    if all(e.split is None for e in entries):
        config["split"] = {"val": 0.1, "test": 0.1, "group_by": "video"}
        places = Counter(group_keys(list(entries), "class_order")).values()
        if len(index.classes) > 1 and len(set(places)) == 1 and len(places) > 1 and not stills:
            notes.append(
                f"every class has {len(places)} videos: if the same people or scenes appear in the same order in each "
                "class, set group_by: class_order, so that nobody is in both train and test"
            )
    if len(entries) < 3 and all(e.split is None for e in entries):
        notes.append("fewer than 3 videos: nothing can be set aside, validation will use the training videos")
    if short:
        notes.append(f"{short} of {len(entries)} videos are shorter than {span} frames and will be left out")
    if smallest < resolution:
        notes.append(f"the smallest video is {smallest} px on its short side and will be enlarged")
    if any(e.width != e.height for e in entries):
        notes.append("videos that are not square lose their sides (fit: crop); fit: stretch keeps all and distorts")
    files = len(entries) + len(index.bad)
    if len(index.bad) > 0.1 * files:
        notes.append(
            f"{len(index.bad)} of {files} files cannot be used, and training stops above max_bad_fraction (0.1): "
            "remove them, or raise it"
        )
    copies = len(entries) - len({e.sha256 for e in entries})
    if copies:
        notes.append(f"{copies} videos are byte-identical copies of others; copies stay in one split")
    if not args.stills and are_photos(index):
        notes.append("the pictures of a folder look unrelated: if they are photos and not a film, use --stills")
    if whites := Counter(f"{e.white:g}" for e in entries if e.white is not None):
        levels = ", ".join(f"{white} in {count} video(s)" for white, count in whites.items())
        notes.append(f"pictures of more than 8 bits are scaled; white is {levels}")
    if pair:
        notes.append("two domains: PairDataModule is for translation; ClipDataModule takes all videos as one set")
    return {"data": {"class_path": "PairDataModule" if pair else "ClipDataModule", "init_args": config}}, notes


def _print_summary(index, report: dict[str, Any]) -> None:
    frames = report["frames"]
    print(f"{report['root']}: {report['layout']}")
    print(f"videos       {report['videos']}")
    each = frames["min"] == frames["max"]
    span = f"{frames['min']} each" if each else f"{frames['min']} to {frames['max']}, median {frames['median']}"
    print(f"frames       {span}")
    print(f"sizes        {_counts(report['sizes'])}")
    print(f"fps          {_counts(report['fps']) or 'not known (images)'}")
    if report["classes"]:
        print(f"classes      {len(report['classes'])}: {_counts(report['classes'], 20)}")
    if report["domains"] and report["domains"] != report["classes"]:
        print(f"domains      {len(report['domains'])}: {_counts(report['domains'])}")
    if report["given_splits"]:
        print(f"given splits {_counts(report['given_splits'])}")


def _counts(counts: dict[str, int], most: int = 6) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:most])
    return shown + (f", and {len(counts) - most} more" if len(counts) > most else "")


def _print_bad(bad, stream) -> None:
    if bad:
        print(f"cannot be used: {len(bad)}", file=stream)
    for path, reason in bad[:50]:
        print(f"  {path}: {reason}", file=stream)
    if len(bad) > 50:
        print(f"  ... and {len(bad) - 50} more", file=stream)


def _print_passed(passed, stream) -> None:
    """What was passed over, by reason, with the first names."""
    reasons: dict[str, list[str]] = {}
    for path, reason in passed:
        reasons.setdefault(reason, []).append(path)
    if passed:
        print(f"passed over: {len(passed)}", file=stream)
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        print(f"  {len(paths)}: {reason} ({', '.join(paths[:3])}{more})", file=stream)


def _yaml(config: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True).rstrip()
