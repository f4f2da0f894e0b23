"""Edit a video by a plan: an operation for each segment, cuts and cross-fades, sound in step."""

from __future__ import annotations

from pathlib import Path

from vidiff.progress import say


def edit(
    plan: Path,
    *,
    input: Path | None = None,
    output: Path | None = None,
    device: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Put each segment of a video through an operation of its own and join them, sound in step.

    Args:
        plan: a .yaml as `vidiff segment` writes it.
        input, output: see `vidiff.inference.edit.edit`.
        device, trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.edit import edit as carry_out

    done = carry_out(plan, input, output, device=device, trust=trust or (), say=say)
    print(f"{done.frames} frames, {done.seconds:.3f} s, in {done.path}")
