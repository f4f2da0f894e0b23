"""Clips of a trained generator as files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vidiff.clip import clip_to_thwc
from vidiff.errors import UsageError, at_least
from vidiff.files import check_writable
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.marking import CARRIERS, clip_marker
from vidiff.models.module import VideoModule
from vidiff.models.translation import Translator
from vidiff.video.alpha import write_alpha
from vidiff.video.provenance import Origin, finish
from vidiff.video.sheet import sheet
from vidiff.video.spherical import Spherical, write_spherical
from vidiff.video.write import write_clip, write_cutout, write_mp4, write_npy, write_png

Format = Literal["mp4", "gif", "png", "npy"]
Alpha = Literal["mov", "webm"]
FORMATS = get_args(Format)
SHOWN = 16  # clips on the contact sheet


def sample_to(
    model: VideoModule,
    folder: str | Path,
    *,
    num_clips: int = 16,
    num_frames: int | None = None,
    seed: int = 0,
    labels: Sequence[int] | None = None,
    formats: Sequence[Format] = ("mp4",),
    fps: float = 8.0,
    batch_size: int = 32,
    ema: bool = True,
    stage: int | None = None,
    parts: bool = False,
    alpha: Sequence[Alpha] = (),
    watermark: str | None = None,
) -> list[Path]:
    """Make clips and write them into a folder; clip i is a function of the weights, the seed and i.

    Args:
        model: see `vidiff.load_model`.
        folder: made where it does not exist.
        num_clips: number of clips.
        num_frames: frames of a clip, for families that can choose.
        seed: key of the latents.
        labels: of a conditional model; repeated in order.
        formats: one or more of mp4 and gif (a file a clip), png (one contact sheet), npy (all clips in one array).
        fps: frames per second of mp4 and gif.
        batch_size: clips made at once.
        ema: the generator's moving average, not its raw weights.
        stage: what an earlier stage of a growing network makes, 0 = the first.
        parts: also background, foreground and mask (mp4), and the foreground with alpha, every value kept (mov, PNG).
        alpha: also the foreground with alpha as players and editors read it: mov (ProRes 4444), webm (VP9) or both.
        watermark: a text that is hidden in every frame of the clips in mp4 and gif, as `vidiff watermark embed` hides
            its key; parts, sheet and array are without; None: none.

    Returns:
        The files; beside each one its `.provenance.json`, see `vidiff.video.provenance`.

    Raises:
        UsageError: this model cannot make that, or the folder cannot be written. Nothing is written before.
    """
    at_least(1, num_clips=num_clips, batch_size=batch_size)
    check(model, formats, fps, stage, parts or bool(alpha))
    if bad := [suffix for suffix in alpha if suffix not in get_args(Alpha)]:
        raise UsageError(f"alpha: {bad[0]} cannot be written; accepted are {', '.join(get_args(Alpha))}")
    marker = clip_marker(watermark, formats)
    folder, written, kept, shown = Path(folder), [], [], []
    check_writable(folder / "sheet.png")

    options = dict(labels=labels, num_frames=num_frames, ema=ema) | ({} if stage is None else {"stage": stage})
    origin = origin_of(model, seed, command="sample", **options)
    marked_origin = replace(origin, watermark=watermark is not None)

    def write(how: Callable[..., None], name: str, *what: Any, origin: Origin = origin) -> None:
        how(folder / name, *what, **({} if how is write_npy else {"comment": origin.comment()}))
        if name.endswith(".mp4") and model.spec.projection != "flat":
            write_spherical(folder / name, Spherical(model.spec.projection))
        finish(folder / name, origin)
        written.append(folder / name)

    for ids, clips in model.iter_samples(range(num_clips), seed, batch_size, **options):
        folder.mkdir(parents=True, exist_ok=True)  # not before there is something to put into it
        for i, clip in zip(ids.tolist(), clips):
            for suffix in [s for s in CARRIERS if s in formats]:
                write(write_clip, f"{i:05d}.{suffix}", marker(clip), fps, origin=marked_origin)
        if parts or alpha:
            made = model.parts(ids.tolist(), seed, labels, num_frames, ema)
            for row, i in enumerate(ids.tolist()):
                _write_parts(write, f"{i:05d}", {name: part[row] for name, part in made.items()}, fps, parts, alpha)
        if "npy" in formats:
            kept.append(clips)
        shown.extend(clips[: SHOWN - len(shown)])
    if "npy" in formats:
        write(write_npy, "clips.npy", torch.cat(kept))
    if "png" in formats:
        write(write_png, "sheet.png", sheet([(f"seed {seed}", torch.stack(shown))]))
    return written


def _write_parts(
    write: Callable[..., None], name: str, made: dict[str, Tensor], fps: float, parts: bool, alpha: Sequence[str]
) -> None:
    """What a clip is made of, as files."""
    cutout = clip_to_thwc(made["cutout"])  # (C + 1, T, H, W) -> (T, H, W, C + 1)
    cutout = cutout[..., [0, 0, 0, 1] if cutout.shape[-1] == 2 else slice(None)]
    if parts:
        for part in ("background", "foreground", "mask"):
            write(write_mp4, f"{name}-{part}.mp4", made[part], fps)
        write(write_cutout, f"{name}-cutout.mov", cutout, fps)
    for suffix in dict.fromkeys(alpha):
        write(write_alpha, f"{name}-alpha.{suffix}", cutout, fps)


def check(
    model: VideoModule, formats: Sequence[str], fps: float, stage: int | None = None, parts: bool = False
) -> None:
    """Raise UsageError for what this model cannot make."""
    name = type(model).__name__
    if bad := [f for f in formats if f not in FORMATS] or ([] if formats else ["nothing"]):
        raise UsageError(f"formats: {bad[0]} cannot be written; accepted are {', '.join(FORMATS)}")
    if not 0 < fps < float("inf"):
        raise UsageError(f"fps must be above 0, got {fps}")
    if isinstance(model, Translator):
        raise UsageError(f"{name} makes no clips from noise: it translates videos (`vidiff translate`)")
    if stage is not None and "stage" not in inspect.signature(model.generate).parameters:
        raise UsageError(f"stage {stage}: {name} does not grow in stages")
    if parts and not hasattr(model, "parts"):
        raise UsageError(f"parts: {name} does not make its clips of a background and a foreground")
