"""Find the shots of a video, or cut it into equal parts, as a plan to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.progress import say


def segment(
    *,
    input: Path,
    output: Path = Path("plan.yaml"),
    every: float | None = None,
    every_frames: int | None = None,
    detector: Literal["color", "adaptive"] = "color",
    min_frames: int = 8,
    cut: Path | None = None,
) -> None:
    """Find the shots of a video, or parts of one length, and write them as a plan for `vidiff edit`.

    Args:
        input, every, every_frames, detector, min_frames, cut: see `vidiff.inference.segment.segment`.
        output: the plan, a .yaml that is not there yet.
    """
    from vidiff.inference.segment import segment as find

    what = dict(every=every, every_frames=every_frames, detector=detector, min_frames=min_frames, cut=cut)
    segments = find(input, output, **what, say=say)
    for number, found in enumerate(segments, 1):
        print(f"{number:4}  {found}")
    print(f"{len(segments)} segment{'s' * (len(segments) > 1)} in {output}")
