"""Average checkpoints of one architecture into a new one."""

from __future__ import annotations

from pathlib import Path


def fuse(
    ckpts: list[Path], *, output: Path, weights: list[float] | None = None, trust: list[str] | None = None
) -> None:
    """Average checkpoints of one architecture into a new one, for sampling and measuring.

    Args:
        ckpts: two or more checkpoints, or zoo:NAME.
        output, weights: see `vidiff.inference.fuse.fuse_checkpoints`.
        trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.fuse import fuse_checkpoints

    fuse_checkpoints(ckpts, output, weights, trust or ())
    print(f"{len(ckpts)} checkpoints averaged in {output}")
