"""The foreground of a clip that a model made, over a video: its mask is the alpha channel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_thwc
from vidiff.errors import UsageError, at_least
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.jobs import Job
from vidiff.inference.plan import check_video
from vidiff.inference.sample import check
from vidiff.models.module import VideoModule
from vidiff.video.remux import Change, check_output, identities, open_film


def overlay(
    model: VideoModule,
    background: str | Path,
    output: str | Path,
    *,
    sample: int = 0,
    seed: int = 0,
    label: int | None = None,
    num_frames: int | None = None,
    x: float = 0.5,
    y: float = 0.5,
    scale: float = 0.5,
    clear: float = 0.0,
    fps: float = 8.0,
    loop: bool = True,
    ema: bool = True,
    say: Callable[[str], None] = warnings.warn,
) -> int:
    """Put the foreground of one clip over a video, whose frames, times, size and sound stay.

    Args:
        model: one that makes its clips of a background and a foreground, see `vidiff.load_model`.
        background: a video.
        output: a .mp4, .mov or .mkv.
        sample: number of the clip.
        seed, num_frames, ema: see `vidiff.inference.sample.sample_to`.
        label: of a conditional model; None: the clip's own.
        x, y: where the middle of the clip is put: 0 the left or upper edge of the video, 1 the right or lower one.
        scale: height of the clip, 1 for that of the video.
        clear: alpha up to this is wholly transparent, what is more is stretched: max(0, a - clear) / (1 - clear);
            masks are seldom quite black.
        fps: frames of the clip per second.
        loop: begin anew when the clip has ended; else the rest is the background alone.
        say: called with a line about what cannot be kept as it was.

    Returns:
        The number of frames.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the video cannot be read.
    """
    check(model, ("mp4",), fps, parts=True)
    at_least(0, sample=sample)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UsageError(f"x and y must be numbers, got {x} and {y}")
    if not 0 < scale <= 4:
        raise UsageError(f"scale must be above 0 and at most 4, got {scale}")
    if not 0 <= clear < 1:
        raise UsageError(f"clear must be at least 0 and below 1, got {clear}")
    source, target = Path(background), Path(output)
    check_video(source)
    check_output(target, identities([source]))
    with open_film(source, lambda text: None) as film:
        rate = float(film.form.rate)
    labels = None if label is None else [label]
    cutout = model.parts([sample], seed, labels, num_frames, ema)["cutout"][0]
    settings = dict(
        command="overlay", sample=sample, label=label, num_frames=num_frames, x=x, y=y, scale=scale, clear=clear
    )
    origin = origin_of(model, seed, **settings, fps=fps, loop=loop, ema=ema)
    change = over(cutout, x=x, y=y, scale=scale, clear=clear, step=fps / rate, loop=loop)
    return Job(source, target).run(change, say, f"overlay of clip {sample}", origin)


def over(
    cutout: Tensor,
    *,
    x: float = 0.5,
    y: float = 0.5,
    scale: float = 0.5,
    clear: float = 0.0,
    step: float = 1.0,
    loop: bool = True,
) -> Change:
    """A function of RGB frames uint8 (H, W, 3): the same with a clip over them, frame by frame.

    Frame k becomes a f + (1 - a) b, b the background, f and a color and alpha of the clip's frame floor(k step), each
    pixel of b where the clip lies; enlarged by bilinear interpolation of a f and a, so that the colors of what is
    transparent do not shine through.

    Args:
        cutout: uint8 (C + 1, T, h, w), colors not multiplied by the alpha behind them, C 1 or 3.
        x, y, scale, clear, loop: see `overlay`.
        step: frames of the clip for each of the video.
    """
    straight = torch.from_numpy(clip_to_thwc(cutout)).permute(0, 3, 1, 2).float() / 255  # (T, C + 1, h, w)
    alpha = (straight[:, -1:] - clear).clamp_min(0) / (1 - clear)
    layers = torch.cat([straight[:, :-1].expand(-1, 3, -1, -1) * alpha, alpha], dim=1)  # (T, 4, h, w)

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        last, layer = None, None  # of the clip, as large as it is shown: it stands for several frames of the video
        for k, frame in enumerate(frames):
            number = int(k * step + 1e-9)
            if number >= len(layers) and not loop:
                yield frame
                continue
            height, width = frame.shape[:2]
            h = max(1, round(scale * height))
            w = max(1, round(h * layers.shape[3] / layers.shape[2]))
            if last != number % len(layers):
                last = number % len(layers)
                enlarged = F.interpolate(layers[last : last + 1], (h, w), mode="bilinear", antialias=True)
                layer = enlarged[0].permute(1, 2, 0).numpy()
            yield composed(frame, layer, round(y * height - h / 2), round(x * width - w / 2))

    return change


def composed(frame: np.ndarray, layer: np.ndarray, top: int, left: int) -> np.ndarray:
    """A frame uint8 (H, W, 3) with a layer over it: p + (1 - a) b, rounded to nearest; what lies outside is cut off.

    Args:
        layer: float (h, w, 4) in [0, 1]: colors multiplied by alpha, p = a f, and alpha.
        top, left: of the layer, in pixels of the frame.
    """
    rows = slice(max(0, top), max(0, min(frame.shape[0], top + layer.shape[0])))
    columns = slice(max(0, left), max(0, min(frame.shape[1], left + layer.shape[1])))
    part = layer[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    out = frame.copy()
    if part.size:
        below = out[rows, columns].astype(np.float32) / 255
        mixed = part[..., :3] + (1 - part[..., 3:]) * below
        out[rows, columns] = (np.clip(mixed, 0, 1) * 255 + 0.5).astype(np.uint8)
    return out
