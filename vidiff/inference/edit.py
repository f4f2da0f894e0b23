"""Edit a video by a plan: each segment through an operation of its own, joined with cuts or cross-fades."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError, doing
from vidiff.inference.operations import Operation, Setting, operations
from vidiff.inference.plan import Plan, check_video, parts_of, read_plan
from vidiff.video.assembly import assemble
from vidiff.video.provenance import Origin, finish
from vidiff.video.remux import check_output, identities
from vidiff.video.segments import read_clock


@dataclass(frozen=True)
class Edited:
    """What was written: the file, its frames, and how many seconds they last."""

    path: Path
    frames: int
    seconds: float


def edit(
    plan: str | Path | Mapping[str, Any],
    input: str | Path | None = None,
    output: str | Path | None = None,
    *,
    device: str | None = None,
    trust: Sequence[str] = (),
    say: Callable[[str], None] = warnings.warn,
) -> Edited:
    """Put each segment of a video through an operation of its own and join them, sound in step.

    Args:
        plan: a .yaml, or the mapping that it holds; see docs/editing.md.
        input: the video; None: as the plan says.
        output: a .mp4, .mov or .mkv; None: as the plan says.
        device, trust: see `vidiff.load_model`.
        say: called with a line about what cannot be kept as it was.

    Raises:
        UsageError: the plan cannot be carried out; nothing is written. RunError: the video or a checkpoint cannot be
            read.
    """
    steps = read_plan(plan)
    source, target = _path(steps, "input", input), _path(steps, "output", output)
    check_video(source)
    check_output(target, identities([source]))
    for file in [*steps.files(), *([] if isinstance(plan, Mapping) else [Path(plan)])]:
        if identities([target]) & identities([file]):
            raise UsageError(f"{target}: the output would replace {file}")
    setting = Setting(source, device, tuple(trust), say)
    made = [_made(step, setting) for step in steps.steps]
    if len(scales := sorted({operation.scale for operation in made if operation.count(1)})) > 1:
        sizes = " and ".join(f"{scale} times" for scale in scales)
        raise UsageError(f"{steps.name}: segments come out {sizes} as large: all need one scale")
    clock = read_clock(source, lambda text: None)
    parts = parts_of(steps, made, clock)
    about = [", ".join(operation.about for operation in made)]
    if origin := _origin(steps, made):
        about.append(origin.comment(altered=True))
    with doing(f"editing {source}"):
        changes = [operation.change for operation in made]
        timeline = assemble(source, target, clock, parts, changes, say, "; ".join(about))
    if origin := _origin(steps, made):
        finish(target, origin, [source])
    return Edited(target, timeline.num_frames, float(timeline.seconds))


def _origin(plan: Plan, made: Sequence[Operation]) -> Origin | None:
    """What is said of the file where trained models made some of its frames."""
    origins = [operation.origin() for operation in made if operation.origin]
    if not origins:
        return None
    names = {
        key: ", ".join(dict.fromkeys(getattr(o, key) for o in origins)) for key in ("model", "checkpoint", "sha256")
    }
    segments = [{**vars(step), "where": number} for number, step in enumerate(plan.steps, 1)]
    inputs = tuple(dict.fromkeys(path for origin in origins for path in origin.inputs))
    return Origin(**names, settings={"command": "edit", "segments": segments}, inputs=inputs)


def _path(plan: Plan, key: str, given: str | Path | None) -> Path:
    path = given if given is not None else getattr(plan, key)
    if path is None:
        raise UsageError(f"{plan.name}: no {key}: name it here, or as {key}: in the plan")
    return Path(path)


def _made(step, setting: Setting) -> Operation:
    """The operation of a segment, ready to be used."""
    try:
        return operations()[step.operation](setting, **step.options)
    except UsageError as error:
        raise UsageError(f"{step.where}: {error}") from error
