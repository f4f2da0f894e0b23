"""Make clips with a trained generator."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from vidiff.commands._trust import add_trust
from vidiff.errors import UsageError
from vidiff.files import check_writable

FORMATS = ("mp4", "gif", "png", "npy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ckpt", required=True, help="a checkpoint of a run, e.g. runs/.../checkpoints/best.ckpt")
    parser.add_argument("--num", type=int, default=16, help="number of clips (default 16)")
    parser.add_argument("--frames", type=int, help="frames a clip, for families that can choose")
    parser.add_argument("--seed", type=int, default=0, help="clip i is a function of seed and i (default 0)")
    parser.add_argument("--labels", help="labels of a conditional model, e.g. 0,1,2; repeated in order")
    parser.add_argument("--format", default="mp4", help="mp4, gif, png (one contact sheet), npy; several with commas")
    parser.add_argument("--batch_size", type=int, default=32, help="clips made at once (memory)")
    parser.add_argument("--fps", type=float, default=8.0, help="frames a second of mp4 and gif (default 8)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--raw", action="store_true", help="the raw weights instead of their moving average")
    parser.add_argument("--stage", type=int, help="what an earlier stage of a growing network makes, 0 = the first")
    parser.add_argument(
        "--parts", action="store_true", help="also background, foreground, mask (mp4) and the cutout with alpha (mov)"
    )
    parser.add_argument("--out", help="folder (default: samples-seed<seed> beside the checkpoint)")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    formats = [f.strip() for f in args.format.split(",") if f.strip()]
    if bad := [f for f in formats if f not in FORMATS]:
        raise UsageError(f"--format {bad[0]}: accepted are {', '.join(FORMATS)}")
    if not formats:
        raise UsageError(f"--format is empty: accepted are {', '.join(FORMATS)}")
    for name in ("num", "batch_size"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} must be at least 1, got {getattr(args, name)}")
    if not 0 < args.fps < float("inf"):
        raise UsageError(f"--fps must be above 0, got {args.fps}")
    try:
        labels = [int(x) for x in args.labels.split(",")] if args.labels else None
    except ValueError:
        raise UsageError(f"--labels {args.labels}: whole numbers with commas between them are accepted") from None

    import torch

    from vidiff.commands._device import check_device
    from vidiff.inference.checkpoint import load_model
    from vidiff.video.write import sheet, write_clip, write_npy, write_png

    model = load_model(args.ckpt, check_device(args.device), args.trust)
    more = {}
    if args.stage is not None:
        if "stage" not in inspect.signature(model.generate).parameters:
            raise UsageError(f"--stage {args.stage}: {type(model).__name__} does not grow in stages")
        more["stage"] = args.stage
    if args.parts and not hasattr(model, "parts"):
        raise UsageError(f"--parts: {type(model).__name__} does not make its clips of a background and a foreground")
    if hasattr(model, "translate"):
        raise UsageError(f"{type(model).__name__} makes no clips from noise: it translates videos (`vidiff translate`)")
    out = Path(args.out) if args.out else Path(args.ckpt).parent / f"samples-seed{args.seed}"
    check_writable(out / "sheet.png")
    kept, shown = [], []
    batches = model.iter_samples(
        range(args.num), args.seed, args.batch_size, labels=labels, num_frames=args.frames, ema=not args.raw, **more
    )
    for ids, clips in batches:
        out.mkdir(parents=True, exist_ok=True)  # not before there is something to put into it
        for i, clip in zip(ids.tolist(), clips):
            for suffix in ("mp4", "gif"):
                if suffix in formats:
                    write_clip(out / f"{i:05d}.{suffix}", clip, fps=args.fps)
        if args.parts:
            parts = model.parts(ids.tolist(), args.seed, labels, args.frames, ema=not args.raw)
            _write_parts(out, ids.tolist(), parts, args.fps)
        if "npy" in formats:
            kept.append(clips)
        if len(shown) < 16:
            shown.extend(clips[: 16 - len(shown)])
    if "npy" in formats:
        write_npy(out / "clips.npy", torch.cat(kept))
    if "png" in formats:
        write_png(out / "sheet.png", sheet([(f"seed {args.seed}", torch.stack(shown))]))
    print(f"{args.num} clips in {out}")
    return 0


def _write_parts(out: Path, ids: list[int], parts: dict, fps: float) -> None:
    """Of clip i `i-background.mp4`, `i-foreground.mp4`, `i-mask.mp4`, and `i-cutout.mov` with an alpha channel."""
    from vidiff.clip import clip_to_thwc
    from vidiff.video.alpha import write_cutout
    from vidiff.video.write import write_mp4

    for row, i in enumerate(ids):
        for name in ("background", "foreground", "mask"):
            write_mp4(out / f"{i:05d}-{name}.mp4", parts[name][row], fps)
        cutout = clip_to_thwc(parts["cutout"][row])  # (C + 1, T, H, W) -> (T, H, W, C + 1)
        grey = [0, 0, 0, 1] if cutout.shape[-1] == 2 else slice(None)
        write_cutout(out / f"{i:05d}-cutout.mov", cutout[..., grey], fps)
