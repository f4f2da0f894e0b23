"""Make clips with a trained generator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.errors import UsageError


def sample(
    *,
    ckpt: Path,
    output: Path | None = None,
    num_clips: int = 16,
    num_frames: int | None = None,
    seed: int = 0,
    labels: list[int] | None = None,
    formats: list[Literal["mp4", "gif", "png", "npy"]] | None = None,
    fps: float = 8.0,
    batch_size: int = 32,
    ema: bool = True,
    stage: int | None = None,
    parts: bool = False,
    alpha: list[Literal["mov", "webm"]] | None = None,
    interpolate: list[int] | None = None,
    steps: int = 16,
    sampling_steps: int | None = None,
    solver: Literal["euler", "heun"] | None = None,
    guidance: float | None = None,
    watermark: str | None = None,
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Make clips with a trained generator: clip i is a function of its weights, the seed and i.

    Args:
        ckpt: a checkpoint of a run, e.g. runs/.../checkpoints/best.ckpt, or a model of `vidiff zoo`: zoo:NAME.
        output: folder; None: samples-seed<seed> beside the checkpoint, or here.
        num_clips, num_frames, seed, labels, formats, fps: see `vidiff.inference.sample.sample_to`.
        batch_size, ema, stage, parts, alpha, watermark: see `vidiff.inference.sample.sample_to`.
        interpolate: instead, a morph from one of these clips to the next (their numbers), of a conditional model with
            one of the labels each.
        steps: clips of the morph from one to the next.
        sampling_steps, solver, guidance: of a flow, others than it was trained with: steps from noise to a clip, their
            method, how strongly clips are of their class (1: as they come).
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    folder = output or ckpt.parent / f"samples-seed{seed}"
    how = dict(formats=formats or ("mp4",), fps=fps, watermark=watermark)
    what = dict(num_frames=num_frames, seed=seed, labels=labels, ema=ema, batch_size=batch_size)
    if interpolate is not None and (stage is not None or parts or alpha):
        raise UsageError("interpolate: stage, parts and alpha are of single clips")
    from vidiff.inference.checkpoint import load_model
    from vidiff.inference.interpolate import interpolate_to
    from vidiff.inference.sample import sample_to

    chosen = dict(sampling_steps=sampling_steps, solver=solver, guidance=guidance)
    model = load_model(ckpt, device, trust or (), **{name: x for name, x in chosen.items() if x is not None})
    if interpolate is not None:
        for path in interpolate_to(model, folder, interpolate, steps=steps, **what, **how):
            print(path)
        return
    sample_to(model, folder, num_clips=num_clips, stage=stage, parts=parts, alpha=alpha or (), **what, **how)
    print(f"{num_clips} clips in {folder}")
