"""Make clips with a trained generator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


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
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Make clips with a trained generator: clip i is a function of its weights, the seed and i.

    Args:
        ckpt: a checkpoint of a run, e.g. runs/.../checkpoints/best.ckpt, or a model of `vidiff zoo`: zoo:NAME.
        output: folder; None: samples-seed<seed> beside the checkpoint, or here.
        num_clips, num_frames, seed, labels, formats, fps: see `vidiff.inference.sample.sample_to`.
        batch_size, ema, stage, parts: see `vidiff.inference.sample.sample_to`.
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.checkpoint import load_model
    from vidiff.inference.sample import sample_to

    folder = output or ckpt.parent / f"samples-seed{seed}"
    model = load_model(ckpt, device, trust or ())
    what = dict(num_clips=num_clips, num_frames=num_frames, seed=seed, labels=labels, ema=ema, stage=stage, parts=parts)
    sample_to(model, folder, formats=formats or ("mp4",), fps=fps, batch_size=batch_size, **what)
    print(f"{num_clips} clips in {folder}")
