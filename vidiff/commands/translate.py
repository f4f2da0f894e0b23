"""Translate videos of any length and size with a trained model."""

from __future__ import annotations

from pathlib import Path

from vidiff.errors import RunError
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
    compare: bool = False,
    ema: bool = True,
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Translate videos of any length and size with a trained model; times, sizes and sound stay.

    Args:
        ckpt: a checkpoint of a translation, runs/.../checkpoints/best.ckpt.
        input: a video; a folder of videos or of folders of frames.
        output: a .mp4, .mov or .mkv; a folder when the input is one.
        direction: a2b or b2a (two domains; a2b when neither this nor a target is given).
        target: domain to translate to, by name or number.
        resolution: shorter side the network works at (default: the video's own).
        window: frames the network sees at once (memory).
        tile: pixels of a frame, each way, the network sees at once (memory).
        compare: input and output side by side.
        ema: the generator's moving average; --no-ema: its raw weights.
        device: cpu, cuda, cuda:1 ... (default: an accelerator where there is one).
        trust: modules of your own that the checkpoint may name classes of.
    """
    from vidiff.inference.jobs import find_jobs

    jobs, unusable = find_jobs(input, output, say)  # before torch is loaded
    from vidiff.inference.checkpoint import load_model
    from vidiff.inference.translate import frame_translator, run_jobs, side_by_side
    from vidiff.models.translation import translator

    model = translator(load_model(ckpt, device, trust or ()))
    pair = model.pair(direction, target)
    change = frame_translator(model, *pair, resolution=resolution, window=window, tile=tile, ema=ema, say=say)
    failed = []
    for result in run_jobs(jobs, unusable, side_by_side(change) if compare else change, say):
        if result.error:
            failed.append(result.error)
        else:
            print(f"{result.frames} frames in {result.path}", flush=True)
    if failed:
        listed = "".join(f"\n  {error}" for error in failed)
        raise RunError(f"{len(failed)} of {len(jobs) + len(unusable)} files could not be translated:{listed}")
