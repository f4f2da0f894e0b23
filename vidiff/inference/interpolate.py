"""Morphs: clips on the way from one sample of a generator to the next, as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.errors import UsageError, at_least
from vidiff.files import check_writable
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.marking import CARRIERS, clip_marker
from vidiff.inference.sample import Format, check
from vidiff.keyed import Between
from vidiff.models.module import VideoModule
from vidiff.video.provenance import finish
from vidiff.video.sheet import sheet
from vidiff.video.write import write_clip, write_npy, write_png

ROWS = 9  # clips on the sheet, evenly spread over the way


def interpolate_to(
    model: VideoModule,
    folder: str | Path,
    ids: Sequence[int],
    *,
    steps: int = 16,
    num_frames: int | None = None,
    seed: int = 0,
    labels: Sequence[int] | None = None,
    formats: Sequence[Format] = ("mp4",),
    fps: float = 8.0,
    batch_size: int = 32,
    ema: bool = True,
    watermark: str | None = None,
) -> list[Path]:
    """Make the clips on the way from one sample to the next and write them into a folder; see `path`.

    Args:
        model: see `vidiff.load_model`.
        folder: made where it does not exist.
        ids: two or more samples.
        steps: clips from one to the next.
        num_frames, seed, batch_size, ema: see `vidiff.inference.sample.sample_to`.
        labels: of a conditional model, one for each of the ids, repeated in order; None: those of the samples.
        formats: one or more of mp4 and gif (morph: frame k is of clip k, its time running to the end of a clip and
            back), png (a sheet of 9 clips, evenly spread), npy (all clips in one array).
        fps: frames per second of mp4 and gif.
        watermark: see `vidiff.inference.sample.sample_to`.

    Returns:
        The files; beside each one its `.provenance.json`, see `vidiff.video.provenance`.

    Raises:
        UsageError: this model cannot make that, or the folder cannot be written. Nothing is written before.
    """
    check(model, formats, fps)
    marker = clip_marker(watermark, formats)
    folder, written = Path(folder), []
    check_writable(folder / "morph.png")
    options = dict(num_frames=num_frames, ema=ema)
    clips = path(model, ids, steps, seed, labels, batch_size=batch_size, **options)
    origin = origin_of(model, seed, command="sample", interpolate=list(ids), steps=steps, labels=labels, **options)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in dict.fromkeys(formats):
        target = folder / f"morph.{suffix}"
        about = replace(origin, watermark=watermark is not None and suffix in CARRIERS)
        if suffix == "npy":
            write_npy(target, clips)
        elif suffix == "png":
            rows = torch.linspace(0, len(clips) - 1, min(ROWS, len(clips))).round().long()
            title = f"seed {seed}, from {' to '.join(map(str, ids))}"
            write_png(target, sheet([(title, clips[rows])]), origin.comment())
        else:
            write_clip(target, marker(morph(clips)), fps, about.comment())
        finish(target, about)
        written.append(target)
    return written


def path(
    model: VideoModule,
    ids: Sequence[int],
    steps: int,
    seed: int = 0,
    labels: Sequence[int] | None = None,
    batch_size: int = 32,
    **options: Any,
) -> Tensor:
    """Clips uint8 ((len(ids) - 1) * steps + 1, C, T, H, W); number j * steps is the sample ids[j] itself.

    Everything that is drawn for a sample (latents, noise of the motion) goes from that of one to that of the next by
    `vidiff.keyed.slerp`; classes by shares that change evenly.

    Args:
        options: `num_frames` and `ema`, see `Sampler.generate`. The rest: see `interpolate_to`.

    Raises:
        UsageError: the numbers, or the labels, cannot be used.
    """
    at_least(1, steps=steps, batch_size=batch_size)
    if len(ids) < 2 or min(ids) < 0:
        raise UsageError(f"interpolate needs two or more ids of samples, got {', '.join(map(str, ids)) or 'none'}")
    if labels is not None and len(labels) > len(ids):
        raise UsageError(f"labels: {len(labels)} of them for {len(ids)} ids; at most one for each")
    stops = [(j, k / steps) for j in range(len(ids) - 1) for k in range(steps)] + [(len(ids) - 2, 1.0)]
    slots = [Between(ids[j], ids[j + 1], share) for j, share in stops]
    if labels is not None:
        labels = [labels[j % len(labels)] for j in range(len(ids))]
    at = [model.sampler.labels([i], seed, None if labels is None else [labels[j]]) for j, i in enumerate(ids)]
    shares = None
    if at[0] is not None:
        hot = F.one_hot(torch.cat(at), model.spec.num_classes).float()  # (ids, K)
        shares = torch.stack([hot[j] if a == 0 else torch.lerp(hot[j], hot[j + 1], a) for j, a in stops])
    if options.get("ema", True):
        model.sampler.averaged(batch_size)
    parts = [slice(start, start + batch_size) for start in range(0, len(slots), batch_size)]
    made = [model.generate(slots[p], seed, labels=None if shares is None else shares[p], **options) for p in parts]
    return torch.cat(made)


def morph(clips: Tensor) -> Tensor:
    """Clips (N, C, T, H, W) -> one clip (C, N, H, W): frame k is of clip k, at 0, 1 .. T - 1, T - 2 .. 0, 1 .."""
    last = clips.shape[2] - 1
    times = [last - abs(k % (2 * last) - last) if last else 0 for k in range(len(clips))]
    return torch.stack([clip[:, time] for clip, time in zip(clips, times)], dim=1)
