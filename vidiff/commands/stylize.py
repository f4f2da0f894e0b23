"""Give videos the style of a picture or of another video."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.errors import RunError, listed
from vidiff.progress import say


def stylize(
    *,
    input: Path,
    output: Path,
    style: Path | None = None,
    method: Literal["optimize", "feedforward"] = "optimize",
    ckpt: Path | None = None,
    updates: int = 300,
    extractor: Literal["vgg19", "vgg16", "vgg16_hed", "lite0"] | None = None,
    resolution: int = 160,
    iterations: int = 15,
    strength: float = 1.0,
    keep_color: bool = False,
    denoise: bool = False,
    sharpen: bool = False,
    frame_by_frame: bool = False,
    measure: bool = False,
    projection: Literal["flat", "equirectangular"] | None = None,
    device: str | None = None,
    watermark: str | None = None,
) -> None:
    """Give videos the style of a picture or of another video; times, sizes and sound stay.

    Args:
        input, style, output, method, ckpt, updates: see `vidiff.inference.stylize.stylize`.
        extractor, resolution, iterations: see `vidiff.inference.stylize.stylize`.
        strength, keep_color, denoise, sharpen: see `vidiff.inference.stylize.stylize`.
        frame_by_frame, measure, projection, device, watermark: see `vidiff.inference.stylize.stylize`.
    """
    from vidiff.inference.jobs import find_jobs
    from vidiff.video.style_source import read_style

    find_jobs(input, output, lambda text: None)  # before torch is loaded
    if style is not None:
        read_style(style, resolution)
    from vidiff.inference import stylize as stylizing

    what = dict(method=method, ckpt=ckpt, updates=updates)
    what |= dict(extractor=extractor, resolution=resolution, iterations=iterations, strength=strength)
    what |= dict(keep_color=keep_color, denoise=denoise, sharpen=sharpen, frame_by_frame=frame_by_frame)
    what |= dict(measure=measure, projection=projection, device=device, watermark=watermark)
    results = stylizing.stylize(input, style, output, **what, say=say)
    for done in results:
        if not done.error:
            print(f"{done.frames} frames in {done.path}", flush=True)
    if failed := [done.error for done in results if done.error]:
        raise RunError(f"{len(failed)} of {len(results)} files could not be restyled:{listed(failed)}")
