"""A video's segments: its shots, or parts of one length; as numbers, a plan to edit, files. No torch in here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from vidiff.errors import at_least
from vidiff.inference.plan import check_new_plan, check_video, write_plan
from vidiff.video.assembly import cut as cut_film
from vidiff.video.assembly import cut_path
from vidiff.video.remux import check_output, identities
from vidiff.video.segments import Segment, even_segments, shot_segments
from vidiff.video.shots import Detector, check_detector


def segment(
    input: str | Path,
    output: str | Path | None = None,
    *,
    every: float | None = None,
    every_frames: int | None = None,
    detector: Detector = "color",
    min_frames: int = 8,
    cut: str | Path | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> list[Segment]:
    """The shots of a video, or parts of one length; together they are all of it.

    Args:
        input: a video.
        output: a .yaml, the plan that `edit` reads, with every segment kept as it is; None: none is written.
        every: seconds of each segment, instead of shots.
        every_frames: frames of each segment, instead of shots.
        detector: of shots: color, or PySceneDetect's adaptive, see `vidiff.video.shots.shot_starts`.
        min_frames: frames of the shortest shot that another one follows.
        cut: a folder that each segment is written into as a file of its own, with its sound.
        say: called with a line about what is passed over.

    Returns:
        Where each segment starts and ends, in frames and in seconds; the end is the next one's start.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the video cannot be read.
    """
    source = Path(input)
    check_video(source)
    at_least(1, min_frames=min_frames)
    if output is not None:
        check_new_plan(Path(output))
    if cut is not None:
        check_output(cut_path(source, Path(cut), 1), identities([source]))
    if every is None and every_frames is None:
        check_detector(detector)
        clock, segments = shot_segments(source, detector, min_frames, say)
    else:
        clock, segments = even_segments(source, every, every_frames, say)
    if output is not None:
        write_plan(Path(output), source, segments)
    if cut is not None:
        cut_film(source, Path(cut), clock, segments, say)
    return segments
