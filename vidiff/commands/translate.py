"""Translate videos of any length and size with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.errors import RunError, listed
from vidiff.progress import say


def translate(
    *,
    ckpt: Path,
    input: Path,
    output: Path,
    direction: str | None = None,
    target: str | None = None,
    resolution: int | None = None,
    window: int | None = None,
    tile: int | None = None,
    batch_size: int = 1,
    projection: Literal["flat", "equirectangular"] | None = None,
    stereo: Literal["mono", "top-bottom", "left-right"] | None = None,
    compare: bool = False,
    ema: bool = True,
    watermark: str | None = None,
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Translate videos of any length and size with a trained model; times, sizes and sound stay.

    Args:
        ckpt: a checkpoint of a translation, runs/.../checkpoints/best.ckpt, or a model of `vidiff zoo`: zoo:NAME.
        input, output, direction, target, resolution: see `vidiff.inference.translate.translate_video`.
        window, tile, batch_size, compare, ema: see `vidiff.inference.translate.translate_video`.
        projection, stereo: see `vidiff.inference.translate.frame_translator`.
        watermark: see `vidiff.inference.translate.translate_video`.
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.jobs import find_jobs

    jobs, unusable = find_jobs(input, output, say)  # before torch is loaded
    from vidiff.inference.checkpoint import load_model, origin_of
    from vidiff.inference.marking import marked
    from vidiff.inference.panorama import shown_as
    from vidiff.inference.translate import frame_translator, run_jobs

    what = dict(direction=direction, target=target, resolution=resolution, window=window, tile=tile, compare=compare)
    what |= dict(projection=projection, stereo=stereo)
    model = load_model(ckpt, device, trust or ())
    change = frame_translator(model, **what, ema=ema, say=say, batch_size=batch_size)
    change, origin = marked(watermark, change, origin_of(model, command="translate", **what, ema=ema))
    failed = []
    for result in run_jobs(jobs, unusable, change, say, origin=origin, shown=shown_as(projection, stereo)):
        if result.error:
            failed.append(result.error)
        else:
            print(f"{result.frames} frames in {result.path}", flush=True)
    if failed:
        raise RunError(f"{len(failed)} of {len(jobs) + len(unusable)} files could not be translated:{listed(failed)}")
