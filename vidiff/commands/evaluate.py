"""Compare a folder of generated videos with a folder of real ones."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.files import given_path

BYTES_A_PIXEL = 60  # of memory, where the widest extractor works at a clip's own size
NAMED = 10  # files that are left out, on stderr
MOST_BYTES = 5e9  # for one clip; larger ones take minutes each, if they fit at all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--real", type=given_path, required=True, help="folder of real videos")
    add("--fake", type=given_path, required=True, help="folder of generated videos; one clip is taken from each")
    add("--metrics", default="auto", help="comma-separated names, or auto (default)")
    add("--num_clips", type=int, default=None, help="clips on each side (default: the number of generated videos)")
    add("--num_frames", type=int, default=16, help="frames of a clip (default 16)")
    add("--resolution", type=int, default=None, help="height and width in pixels (default: the generated videos' own)")
    add("--frame_stride", type=int, default=1, help="of the real videos (default 1); generated ones: every frame")
    add("--seed", type=int, default=0, help="of the choice of real clips (default 0)")
    add("--per_frame", action="store_true", help="each frame index of long videos against single real frames")
    add("--json", type=Path, default=None, metavar="FILE", help="write values, floors and protocols")
    add("--weights", type=Path, default=None, help="file or folder with weights of official metrics")
    add("--batch_size", type=int, default=32, help="clips at a time (default 32; fewer where they are large)")
    add(
        "--backend",
        choices=("pyav", "auto", "decord"),
        default="pyav",
        help="what reads videos (default pyav: all, exactly)",
    )
    add("--device", default=None, help="where features are computed (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    from vidiff.metrics.protocol import expand, parse_name
    from vidiff.pretrained.weights import MANIFEST, require

    for name, least in (("num_clips", 2), ("num_frames", 1), ("resolution", 1), ("frame_stride", 1), ("batch_size", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, got {value}")
    # Unknown names and missing weights are said before torch is loaded or a video is read.
    for name in expand(args.metrics):
        if name != "auto" and (spec := parse_name(name)).official:
            require(MANIFEST["i3d" if spec.extractor == "i3d" else "inception"], name, args.weights)

    from rich.console import Console

    from vidiff.data.sampling import clip_span
    from vidiff.metrics.evaluator import Evaluator
    from vidiff.metrics.resolve import auto_note, resolve_metrics

    if args.per_frame:
        return _per_frame(args)
    device = _device(args.device)
    console = Console(stderr=True)
    left_out = {}
    reals = _videos(args, "real", clip_span(args.num_frames, args.frame_stride), left_out, console)
    fakes = _videos(args, "fake", args.num_frames, left_out, console)
    num_clips = _number(args, fakes)
    metrics = resolve_metrics(args.metrics, num_clips=num_clips, num_frames=args.num_frames, weights=args.weights)
    if "auto" in args.metrics.split(","):
        console.print(auto_note(metrics), highlight=False)
    resolution = _size(args, fakes)
    results = {}
    for prefix in (False, True):
        group = [m for m in metrics if (m.spec.subset == "prefix") == prefix]
        if group:
            evaluator = Evaluator(
                group,
                lambda prefix=prefix: _real_clips(args, reals, num_clips, resolution, prefix, console),
                held_out=_held_out(args, reals, num_clips, resolution, prefix, console),
                fields=_fields(args, reals, fakes, num_clips, prefix),
                device=device,
            )
            results |= evaluator.evaluate(_fake_clips(args, fakes, num_clips, resolution, console), num_clips)
    results = {m.name: results[m.name] for m in metrics}
    _print(results)
    if args.json:
        _write(args.json, {"metrics": results, "left_out": left_out})
    return 0


def _per_frame(args) -> int:
    """The Fréchet distance at each frame index: does a long sample keep its quality?"""
    from rich.console import Console

    from vidiff.metrics.features import lite0_available
    from vidiff.metrics.per_frame import frame_distances
    from vidiff.metrics.resolve import resolve_metrics

    names = ("fd_lite0" if lite0_available() else "fvd_random") if args.metrics == "auto" else args.metrics
    metrics = resolve_metrics(names)
    if wrong := [m.name for m in metrics if m.spec.score != "frechet" or m.official]:
        raise UsageError(f"--per_frame takes fd_lite0 and fvd_random, not {wrong[0]}")
    console = Console(stderr=True)
    device, left_out = _device(args.device), {}
    fakes = _videos(args, "fake", args.num_frames, left_out, console)
    reals = _videos(args, "real", 1, left_out, console)
    count, size = _number(args, fakes), _size(args, fakes)
    still = argparse.Namespace(**{**vars(args), "num_frames": 1, "frame_stride": 1})
    results = frame_distances(
        {m.name: m.extractor.to(device) for m in metrics},
        _real_clips(still, reals, 2 * count, size, False, console),
        _fake_clips(args, fakes, count, size, console),
        device,
    )
    for name, r in results.items():
        print(f"{name} at each frame index, {count} videos against as many real frames (floor {r['floor']:.4g})")
        for start in range(0, len(r["values"]), 8):
            print(f"  {start:>4}  " + "  ".join(f"{v:8.4g}" for v in r["values"][start : start + 8]))
    if args.json:
        per_frame = {name: {**r, "clips": count} for name, r in results.items()}
        _write(args.json, {"per_frame": per_frame, "left_out": left_out})
    return 0


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return name


def _videos(args, side: str, span: int, left_out: dict, console) -> tuple:
    """(index, entries that a clip fits into) of `--real` or `--fake`, in natural order; what is left out is named."""
    from vidiff.data.index import build_index

    index = build_index(getattr(args, side), args.backend)
    short = [(e.path, f"{e.num_frames} frames, a clip needs {span}") for e in index.entries if e.num_frames < span]
    out = [*index.bad, *short]
    left_out[side] = [{"path": path, "reason": reason} for path, reason in out]
    if out:
        total = len(index.entries) + len(index.bad)
        names = "".join(f"\n  {path}: {reason}" for path, reason in out[:NAMED])
        more = f"\n  ... and {len(out) - NAMED} more (all of them in --json)" if len(out) > NAMED else ""
        text = f"--{side}: {len(out)} of {total} files of {index.root} are left out:{names}{more}"
        console.print(text.encode(errors="backslashreplace").decode(), highlight=False, markup=False, soft_wrap=True)
    entries = [e for e in index.entries if e.num_frames >= span]
    if not entries:
        longest = max((e.num_frames for e in index.entries), default=0)
        held = f"{len(index.entries)} videos of at most {longest} frames" if index.entries else "no usable video"
        raise UsageError(f"{index.root} holds {held}; a clip needs {span} frames (--num_frames, --frame_stride)")
    return index, entries


def _number(args, fakes) -> int:
    """Clips on each side."""
    held = len(fakes[1])
    count = args.num_clips or held
    if held < max(2, count):
        asked = f"--num_clips {count}: " if args.num_clips else "at least 2 are needed: "
        raise UsageError(f"{asked}{args.fake} holds {held} videos of {args.num_frames} frames")
    return count


def _size(args, fakes) -> int:
    """Height and width of the clips; UsageError with what it would cost where that is too much."""
    size = args.resolution or _common_size(fakes, args.fake)
    cost = args.num_frames * size**2 * BYTES_A_PIXEL
    if cost > MOST_BYTES:
        most = int((MOST_BYTES / BYTES_A_PIXEL / args.num_frames) ** 0.5)
        raise UsageError(
            f"--resolution {size}: to measure one clip of {args.num_frames} frames of {size} x {size} would take about "
            f"{cost / 1e9:.0f} GB of memory; accepted are {MOST_BYTES / 1e9:.0f} GB: at most --resolution {most}"
        )
    args.batch_size = max(1, min(args.batch_size, int(MOST_BYTES // cost)))  # changes no value
    return size


def _common_size(fakes, root: Path) -> int:
    sizes = {min(e.width, e.height) for e in fakes[1]}
    if len(sizes) > 1:
        raise UsageError(f"{root} holds videos of several sizes ({sorted(sizes)[:5]}): give --resolution")
    return sizes.pop()


def _fields(args, reals, fakes, num_clips: int, prefix: bool) -> dict:
    from vidiff.video.open import decoding

    index, entries = reals
    videos = min(num_clips, len(entries))
    one_each = prefix or num_clips <= len(entries)
    return {
        "frame_stride": args.frame_stride,
        "fps": index.fps,
        "split": "all",
        "subset": "prefix" if prefix else f"seeded, {'1 clip' if one_each else 'several clips'} a video of {videos}",
        "offset": "real seeded uniform, generated 0",
        "decode": f"crop; real {decoding(entries)}; generated {decoding(fakes[1])}",
        "seed": args.seed,
        "dataset": index.fingerprint,
    }


def _real_clips(args, reals, num_clips: int, resolution: int, prefix: bool, console, first: int = 0) -> Iterator[tuple]:
    import numpy as np

    from vidiff.data.sampling import video_at

    index, entries = reals
    if prefix:  # the first videos of the sorted list, one clip each
        requests = [(i, i) for i in range(first, min(first + num_clips, len(entries)))]
    else:  # the videos in turn, in a seeded order
        slots = np.arange(first, first + num_clips)
        requests = list(zip(slots.tolist(), video_at(slots, len(entries), args.seed, "evaluation").tolist()))
    what = "held-out" if first else "real"
    return _clips(args, index.root, entries, requests, resolution, args.frame_stride, what, console)


def _held_out(args, reals, num_clips: int, *more):
    """Clips of as many further videos for the floor, where there are that many; else the real clips are halved."""
    if len(reals[1]) < 2 * num_clips:
        return None
    return lambda: _real_clips(args, reals, num_clips, *more, first=num_clips)


def _fake_clips(args, fakes, num_clips: int, resolution: int, console) -> Iterator[tuple]:
    from dataclasses import replace

    index, entries = fakes
    # Cut to its first frames, a video has one clip: the one from frame 0.
    entries = [replace(e, num_frames=args.num_frames) for e in entries[:num_clips]]
    requests = [(i, i) for i in range(num_clips)]
    return _clips(args, index.root, entries, requests, resolution, 1, "generated", console)


def _clips(args, root, entries, requests, resolution: int, stride: int, what: str, console) -> Iterator[tuple]:
    """(ids, clips) of the requested (id, video) pairs, with a progress bar; an unreadable file stops it."""
    from dataclasses import replace

    from rich.progress import track

    from vidiff.data.dataset import ClipDataset
    from vidiff.data.loader import ClipPass

    entries = [replace(e, label=None) for e in entries]  # videos are compared, their class folders do not matter
    dataset = ClipDataset(
        root, entries, args.num_frames, resolution, stride, seed=args.seed, purpose="evaluation", on_error="raise"
    )
    batches = ClipPass(dataset, requests, args.batch_size)
    for batch in track(batches, description=f"{what} clips", total=len(batches), console=console, transient=True):
        yield batch["slot"], batch["clip"]


def _print(results: dict) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "floor", "clips", "weights", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("protocol", no_wrap=True)
    for name, r in results.items():
        value = "n/a" if r["value"] is None else f"{r['value']:.4g}"
        floor = "n/a" if r["floor"] is None else f"{r['floor']:.4g}"
        clips = f"{r['protocol']['n_real']}/{r['protocol']['n_fake']}{' !' if r['low_n'] else ''}"
        table.add_row(name, value, floor, clips, "official" if r["official"] else "own", r["hash"])
    console = Console()
    console.print(table)
    rules = dict.fromkeys(f"{r['protocol']['floor_rule']} ({r['protocol']['floor_n']} clips)" for r in results.values())
    console.print(f"clips: real/generated; floor: {'; '.join(rules)}", highlight=False)
    if any(r["low_n"] for r in results.values()):
        console.print("! fewer samples than features, so that bias dominates the value", highlight=False)


def _write(path: Path, content: dict) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError as error:
        raise UsageError(f"--json {path}: cannot write there ({error.strerror})") from error
    with os.fdopen(handle, "w", encoding="utf-8") as f:
        json.dump(content, f, indent=2, allow_nan=False)
        f.write("\n")
    os.replace(temporary, path)
