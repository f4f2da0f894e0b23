"""Restore videos of any length and size: noise, blur, compression, lost parts, low resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.errors import RunError, listed
from vidiff.progress import say


def restore(
    *,
    ckpt: Path,
    input: Path,
    output: Path,
    scale: int | None = None,
    window: int | None = None,
    tile: int = 256,
    projection: Literal["flat", "equirectangular"] | None = None,
    stereo: Literal["mono", "top-bottom", "left-right"] | None = None,
    compare: bool = False,
    ema: bool = True,
    watermark: str | None = None,
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Restore videos of any length and size with a trained model; times and sound stay.

    Args:
        ckpt: a checkpoint of a restoration, runs/.../checkpoints/best.ckpt (pixel.ckpt beside it: of its first stage),
            or a model of `vidiff zoo`: zoo:NAME.
        input, output: see `vidiff.inference.restore.restore`.
        scale, window, tile, compare, ema: see `vidiff.inference.restore.frame_restorer`.
        projection, stereo: see `vidiff.inference.restore.frame_restorer`.
        watermark: see `vidiff.inference.restore.restore`.
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.jobs import find_jobs

    jobs, unusable = find_jobs(input, output, say)  # before torch is loaded
    from vidiff.inference.checkpoint import load_model, origin_of
    from vidiff.inference.marking import marked
    from vidiff.inference.panorama import shown_as
    from vidiff.inference.restore import frame_restorer
    from vidiff.inference.translate import run_jobs

    what = dict(scale=scale, window=window, tile=tile, projection=projection, stereo=stereo, compare=compare, ema=ema)
    model = load_model(ckpt, device, trust or ())
    origin = origin_of(model, command="restore", **what)
    change, origin = marked(watermark, frame_restorer(model, **what, say=say), origin)
    failed = []
    shown = shown_as(projection, stereo)
    for result in run_jobs(jobs, unusable, change, say, origin=origin, verb="restoring", shown=shown):
        if result.error:
            failed.append(result.error)
        else:
            print(f"{result.frames} frames in {result.path}", flush=True)
    if failed:
        raise RunError(f"{len(failed)} of {len(jobs) + len(unusable)} files could not be restored:{listed(failed)}")
