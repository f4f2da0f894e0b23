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
        ckpt: a checkpoint of a run, e.g. runs/.../checkpoints/best.ckpt.
        output: folder (default: samples-seed<seed> beside the checkpoint).
        num_clips: number of clips.
        num_frames: frames a clip, for families that can choose.
        seed: key of the latents.
        labels: labels of a conditional model, e.g. 0 1 2; repeated in order.
        formats: one or more; png is one contact sheet, npy one array of all clips (default mp4).
        fps: frames per second of mp4 and gif.
        batch_size: clips made at once (memory).
        ema: the generator's moving average; --no-ema: its raw weights.
        stage: what an earlier stage of a growing network makes, 0 = the first.
        parts: also background, foreground, mask (mp4) and the cutout with alpha (mov).
        device: cpu, cuda, cuda:1 ... (default: an accelerator where there is one).
        trust: modules of your own that the checkpoint may name classes of.
    """
    from vidiff.inference.checkpoint import load_model
    from vidiff.inference.sample import sample_to

    folder = output or ckpt.parent / f"samples-seed{seed}"
    model = load_model(ckpt, device, trust or ())
    what = dict(num_clips=num_clips, num_frames=num_frames, seed=seed, labels=labels, stage=stage, parts=parts)
    how = dict(formats=formats or ("mp4",), fps=fps, batch_size=batch_size, ema=ema)
    sample_to(model, folder, **what, **how)
    print(f"{num_clips} clips in {folder}")
