"""Translate videos of any length and size with a trained model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vidiff.commands._trust import add_trust
from vidiff.errors import RunError, UsageError, doing, unforeseen
from vidiff.inference.jobs import Job, find_jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ckpt", required=True, help="a checkpoint of a translation, runs/.../checkpoints/best.ckpt")
    parser.add_argument("--input", required=True, help="a video; a folder of videos or of folders of frames")
    parser.add_argument("--output", required=True, help="a .mp4, .mov or .mkv; a folder when the input is one")
    parser.add_argument("--direction", help="a2b or b2a (two domains; a2b when nothing is said)")
    parser.add_argument("--target", help="domain to translate to, by name or number")
    parser.add_argument("--resolution", type=int, help="shorter side the network works at (default: the video's own)")
    parser.add_argument("--window", type=int, help="frames the network sees at once (memory)")
    parser.add_argument("--tile", type=int, help="pixels of a frame, each way, the network sees at once (memory)")
    parser.add_argument("--compare", action="store_true", help="input and output side by side")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--raw", action="store_true", help="the raw weights instead of their moving average")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    for name in ("input", "output"):
        if not getattr(args, name).strip():
            raise UsageError(f"--{name} is empty (an unset variable?)")
    source, target = Path(args.input), Path(args.output)
    if not source.exists():
        raise UsageError(f"--input {source}: no such file or folder")
    for name, least in (("resolution", 8), ("window", 1), ("tile", 16)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise UsageError(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if args.direction and args.target:
        raise UsageError("give --direction or --target, not both")
    jobs, failed = find_jobs(source, target, _say)

    from vidiff.commands._device import check_device
    from vidiff.inference.checkpoint import find_domains, load_model

    model = load_model(args.ckpt, check_device(args.device), args.trust)
    change = translation(model, *find_domains(model, args.direction, args.target), args)
    unusable, alone = len(failed), len(jobs) == 1 and not failed
    for job in jobs:
        try:
            with _progress(job) as note, doing(f"translating {job.source}"):
                count = job.run(lambda frames: note(change(frames)), _say)
            print(f"{count} frames in {job.target}")
        except UsageError:  # about the output: the others have no better one
            raise
        except Exception as error:
            if alone:
                raise
            failed.append(str(error) if isinstance(error, RunError) else unforeseen(error, f"translating {job.source}"))
    if failed:
        listed = "".join(f"\n  {f}" for f in failed)
        raise RunError(f"{len(failed)} of {len(jobs) + unusable} files could not be translated:{listed}")
    return 0


def translation(model, source: int, target: int, args: argparse.Namespace) -> Callable[[Iterable], Iterator]:
    """A function frames uint8 (H, W, 3) -> the translated frames, one by one, in constant memory."""
    import torch
    import torch.nn.functional as F

    from vidiff.clip import clip_to_thwc, signed_to_uint8, thwc_to_clip, uint8_to_unit, unit_to_signed
    from vidiff.inference.tiles import plan_tiles, space_radius, through_tiles
    from vidiff.inference.windows import plan, through_windows
    from vidiff.nn.resnet import GRID

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


def _say(text: str) -> None:
    print(f"vidiff: {text}", file=sys.stderr)


@contextmanager
def _progress(job: Job) -> Iterator[Callable[[Iterable], Iterator]]:
    """A wrapper of an iterable of frames that shows how far it is and how long it will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total, name = job.num_frames, job.source.name
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield lambda frames: bar.track(frames, total=total, description=name)
    else:
        yield lambda frames: _lines(frames, name, total)


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
