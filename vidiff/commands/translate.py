"""Translate videos of any length and size with a trained model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vidiff.errors import RunError, UsageError

VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ckpt", required=True, help="a checkpoint of a translation, runs/.../checkpoints/best.ckpt")
    parser.add_argument("--input", required=True, help="a video, or a folder of videos")
    parser.add_argument("--output", required=True, help="a .mp4, .mov or .mkv; a folder when the input is one")
    parser.add_argument("--direction", help="a2b or b2a (two domains; a2b when nothing is said)")
    parser.add_argument("--target", help="domain to translate to, by name or number")
    parser.add_argument("--resolution", type=int, help="shorter side the network works at (default: the video's own)")
    parser.add_argument("--window", type=int, help="frames the network sees at once (memory)")
    parser.add_argument("--tile", type=int, help="pixels of a frame, each way, the network sees at once (memory)")
    parser.add_argument("--compare", action="store_true", help="input and output side by side")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--raw", action="store_true", help="the raw weights instead of their moving average")


def run(args: argparse.Namespace) -> int:
    source, target = Path(args.input), Path(args.output)
    if not source.exists():
        raise UsageError(f"--input {source}: no such file or folder")
    for name, least in (("resolution", 8), ("window", 1), ("tile", 16)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise UsageError(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if args.direction and args.target:
        raise UsageError("give --direction or --target, not both")

    import torch

    from vidiff.checkpoint import find_domains, load_model
    from vidiff.commands._remux import remux

    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {args.device}: no CUDA device is available here")
    model = load_model(args.ckpt, device=args.device)
    change = translation(model, *find_domains(model, args.direction, args.target), args)
    jobs, failures = _jobs(source, target), []
    for video, written in jobs:
        try:
            with _progress(video) as note:
                count = remux(video, written, lambda frames: note(change(frames)), _say)
            print(f"{count} frames in {written}")
        except RunError as error:
            if not source.is_dir():
                raise
            failures.append(str(error))
    if failures:
        listed = "".join(f"\n  {f}" for f in failures)
        raise RunError(f"{len(failures)} of {len(jobs)} files could not be translated:{listed}")
    return 0


def translation(model, source: int, target: int, args: argparse.Namespace) -> Callable[[Iterable], Iterator]:
    """A function frames uint8 (H, W, 3) -> the translated frames, one by one, in constant memory."""
    import torch
    import torch.nn.functional as F

    from vidiff.clip import clip_to_thwc, signed_to_uint8, thwc_to_clip, uint8_to_unit, unit_to_signed
    from vidiff.commands._tiles import plan_tiles, space_radius, through_tiles
    from vidiff.commands._windows import plan, through_windows
    from vidiff.nn.translation import GRID

    mapping = model.mapping(source, target, ema=not args.raw)
    whole = model.generator_ema.module if not args.raw else model.generator
    whole = whole["a2b" if target else "b2a"] if isinstance(whole, torch.nn.ModuleDict) else whole
    window, trim, fade = plan(whole, model.spec.num_frames, args.window)
    tiles = plan_tiles(whole, args.tile) if args.tile else None
    if tiles and space_radius(whole) is None:
        _say(
            "this generator looks at the whole frame at once, so tiles are cross-faded and not what the whole would be"
        )
    grey = model.spec.channels == 1

    def network(clip: torch.Tensor) -> torch.Tensor:
        """float (C, T, H, W) -> the same on the CPU; only this much is on the device."""
        with torch.no_grad():
            return mapping(clip[None].to(model.device, model.dtype))[0].float().cpu()

    def translate(clip: torch.Tensor) -> torch.Tensor:
        """uint8 (3, T, H, W) -> float (3, T, H, W) in [-1, 1]."""
        h, w = clip.shape[2:]
        x = unit_to_signed(uint8_to_unit(clip))
        x = x.mean(0, keepdim=True) if grey else x
        frames = x.transpose(0, 1)  # (T, C, H, W)
        if args.resolution:
            scale = args.resolution / min(h, w)
            size = [max(GRID, round(side * scale / GRID) * GRID) for side in (h, w)]
            frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
        else:
            frames = F.pad(frames, (0, -w % GRID, 0, -h % GRID), "replicate")
        x = frames.transpose(0, 1)  # (C, T, H', W')
        frames = (through_tiles(x, network, *tiles) if tiles else network(x)).transpose(0, 1)
        if args.resolution:
            frames = F.interpolate(frames, (h, w), mode="bilinear", antialias=True)
        return frames[:, :, :h, :w].transpose(0, 1).expand(3, -1, -1, -1)

    def change(frames: Iterable) -> Iterator:
        seen = []  # inputs whose translation is still in a window, for --compare

        def tensors() -> Iterator:
            for frame in frames:
                if args.compare:
                    seen.append(frame)
                yield thwc_to_clip(frame[None])[:, 0]  # (H, W, 3) -> (3, H, W)

        for frame in through_windows(tensors(), translate, window, trim, fade):
            image = clip_to_thwc(signed_to_uint8(frame.unsqueeze(1)))[0]
            yield _beside(seen.pop(0), image) if args.compare else image

    return change


def _beside(left, right):
    import numpy as np

    return np.concatenate([left, right], axis=1)


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """(video, where its translation goes)."""
    if not source.is_dir():
        return [(source, target / f"{source.stem}.mp4" if target.is_dir() else target)]
    if target.suffix.lower() in VIDEOS:
        raise UsageError(f"--output {target}: the input is a folder, so the output has to be one")
    videos = sorted(p for p in source.rglob("*") if p.suffix.lower() in VIDEOS and not p.name.startswith("."))
    if not videos:
        raise UsageError(f"--input {source} holds no video ({', '.join(VIDEOS)})")
    outputs = [(target / v.relative_to(source)).with_suffix(".mp4") for v in videos]
    # Two videos that differ in the suffix alone keep it, so that neither overwrites the other.
    outputs = [o.with_name(f"{v.name}.mp4") if outputs.count(o) > 1 else o for v, o in zip(videos, outputs)]
    return list(zip(videos, outputs))


def _say(text: str) -> None:
    print(f"vidiff: {text}", file=sys.stderr)


@contextmanager
def _progress(video: Path) -> Iterator[Callable[[Iterable], Iterator]]:
    """A wrapper of an iterable of frames that shows how far it is and how long it will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = _header_frames(video)
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield lambda frames: bar.track(frames, total=total, description=video.name)
    else:
        yield lambda frames: _lines(frames, video.name, total)


def _header_frames(video: Path) -> int | None:
    """Frames as the file's header has them, or from its length: only for the bar."""
    import av

    from vidiff.data.pyav import av_errors

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            if stream.frames or not container.duration or not stream.average_rate:
                return stream.frames or None
            return round(container.duration / av.time_base * stream.average_rate)
    except av_errors():
        return None


def _lines(frames: Iterable, name: str, total: int | None, every_s: float = 30.0) -> Iterator:
    """Without a terminal: a plain line now and then."""
    start = last = time.monotonic()
    for count, frame in enumerate(frames, 1):
        yield frame
        now = time.monotonic()
        if now - last > every_s:
            left = f", {(now - start) / count * (total - count):.0f} s left" if total else ""
            _say(f"{name}: frame {count}{f' of {total}' if total else ''}{left}")
            last = now
