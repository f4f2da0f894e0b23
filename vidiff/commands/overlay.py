"""Put the foreground of a generated clip over a video."""

from __future__ import annotations

from pathlib import Path

from vidiff.progress import say


def overlay(
    *,
    ckpt: Path,
    background: Path,
    output: Path,
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
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Put the foreground of a clip, its mask as alpha, over a video, whose frames, times, size and sound stay.

    Args:
        ckpt: a checkpoint of a model that makes its clips of a background and a foreground.
        background, output, sample, seed, label, num_frames: see `vidiff.inference.overlay.overlay`.
        x, y, scale, clear, fps, loop, ema: see `vidiff.inference.overlay.overlay`.
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.checkpoint import load_model
    from vidiff.inference.overlay import overlay as put_over

    what = dict(sample=sample, seed=seed, label=label, num_frames=num_frames, x=x, y=y, scale=scale)
    model = load_model(ckpt, device, trust or ())
    frames = put_over(model, background, output, **what, clear=clear, fps=fps, loop=loop, ema=ema, say=say)
    print(f"{frames} frames in {output}")
