"""The plan of an edit: a YAML that names a video's segments and what is done with each. No torch in here."""

from __future__ import annotations

import inspect
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from vidiff.errors import UsageError, unknown_name
from vidiff.files import check_suffix, check_writable, read_yaml, write_text
from vidiff.inference.operations import Operation, operations
from vidiff.video.filetype import sniff
from vidiff.video.segments import Clock, Segment
from vidiff.video.timeline import Part

SUFFIXES = (".yaml", ".yml")
KEYS, OWN = ("input", "output", "segments"), ("start", "end", "operation", "fade")
SECONDS = re.compile(r"(\d+(?:\.\d+)?) ?s")  # 2.5s


@dataclass(frozen=True)
class Step:
    """A segment of a plan.

    Args:
        where: for messages: the plan and the number of the segment.
        start, end: frames, or seconds where they are fractions.
        operation: its name.
        options: of the operation.
        fade: frames that are cross-faded with the segment before.
    """

    where: str
    start: int | Fraction
    end: int | Fraction
    operation: str
    options: dict[str, Any]
    fade: int = 0


@dataclass(frozen=True)
class Plan:
    """What a plan says; `input` and `output` may be missing."""

    name: str
    steps: list[Step]
    input: Path | None = None
    output: Path | None = None

    def files(self) -> list[Path]:
        """Every file that its operations name."""
        return [value for step in self.steps for value in step.options.values() if isinstance(value, Path)]


def read_plan(given: str | Path | Mapping[str, Any]) -> Plan:
    """A plan of a file, or of a mapping as such a file holds; its values are checked, not what they name.

    Raises:
        UsageError: it is none: a key that there is not, or a value that cannot be.
    """
    if isinstance(given, Mapping):
        name, content = "plan", dict(given)
    else:
        name, path = str(given), Path(given)
        if not path.is_file():
            raise UsageError(f"plan {name}: {'a folder' if path.is_dir() else 'no such file'}")
        content = read_yaml(path)
    for key in content:
        if key not in KEYS:
            raise UsageError(f"{name}: {unknown_name('key', str(key), KEYS)}")
    segments = content.get("segments")
    if not isinstance(segments, list) or not segments:
        raise UsageError(f"{name}: segments must be a list of at least one segment")
    paths = {key: _value(name, key, content.get(key), Path | None) for key in ("input", "output")}
    return Plan(name, [_step(f"{name}: segment {n}", s) for n, s in enumerate(segments, 1)], **paths)


def _step(where: str, given: object) -> Step:
    """One segment of a plan, its keys checked against the signature of its operation."""
    if not isinstance(given, dict):
        raise UsageError(f"{where} must hold start, end and operation, got {given!r}")
    if missing := [key for key in OWN[:3] if given.get(key) is None]:
        raise UsageError(f"{where} has no {missing[0]}")
    known, name = operations(), given["operation"]
    if name not in known:
        raise UsageError(f"{where}: {unknown_name('operation', str(name), known)}")
    hints = typing.get_type_hints(known[name])
    parameters = [p for p in inspect.signature(known[name]).parameters.values() if p.kind is p.KEYWORD_ONLY]
    accepted = [p.name for p in parameters]
    options = {key: value for key, value in given.items() if key not in OWN}
    for key in options:
        if key not in accepted:
            raise UsageError(f"{where}: {name}: {unknown_name('key', str(key), [*OWN, *accepted])}")
    if missing := [p.name for p in parameters if p.default is p.empty and p.name not in options]:
        raise UsageError(f"{where}: {name} needs {missing[0]}")
    options = {key: _value(where, key, value, hints[key]) for key, value in options.items()}
    fade = _value(where, "fade", given.get("fade", 0), int)
    if fade < 0:
        raise UsageError(f"{where}: fade must be at least 0 frames, got {fade}")
    return Step(where, *(_place(where, key, given[key]) for key in ("start", "end")), name, options, fade)


def _place(where: str, key: str, value: object) -> int | Fraction:
    """Frames as they are, seconds (`2.5s`) as a fraction."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := SECONDS.fullmatch(value.strip())):
        return Fraction(match[1])
    raise UsageError(f"{where}: {key} must be a number of frames (48) or seconds (2.5s), got {value!r}")


def _value(where: str, key: str, value: Any, kind: Any) -> Any:
    """A value of YAML as an argument of this type."""
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (k for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"{where}: {key} must be one of {', '.join(get_args(kind))}, got {value!r}")
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    sound, word = {
        int: (number and isinstance(value, int), "a whole number"),
        float: (number, "a number"),
        bool: (isinstance(value, bool), "true or false"),
        str: (isinstance(value, str) or number, "a name"),
        Path: (isinstance(value, str | Path) and str(value).strip(), "a path"),
    }[kind]
    if not sound:
        raise UsageError(f"{where}: {key} must be {word}, got {value!r}")
    return Path(value).expanduser() if kind is Path else kind(value)


def parts_of(plan: Plan, made: Sequence[Operation], clock: Clock) -> list[Part]:
    """The segments of a plan as parts of its video.

    Args:
        plan: the plan.
        made: of each segment.
        clock: of the video.

    Raises:
        UsageError: together the segments are not the whole video, each frame once, or a fade is too long.
    """
    bounds = [[_frame(step, at, clock) for at in (step.start, step.end)] for step in plan.steps]
    _check_whole(plan, bounds, clock)
    parts, before = [], None  # `before`: frames of the part before that are not in a fade yet
    for step, operation, (start, end) in zip(plan.steps, made, bounds):
        count = operation.count(end - start)
        if step.fade and not count:
            raise UsageError(f"{step.where}: fade {step.fade}: the segment is left out")
        if step.fade and before is None:
            raise UsageError(f"{step.where}: fade {step.fade}: there is no segment before it to fade from")
        if step.fade > min(count, before or count):
            raise UsageError(
                f"{step.where}: fade {step.fade} is too long: the segment has {count} frames, and the one before "
                f"{before} that are in no other fade"
            )
        parts.append(Part(start, end, count, step.fade))
        before = count - step.fade if count else before
    if before is None:
        raise UsageError(f"{plan.name}: every segment is dropped: nothing would be left")
    return parts


def _frame(step: Step, place: int | Fraction, clock: Clock) -> int:
    """The number of a frame that was given so, or as seconds."""
    if isinstance(place, int):
        return place
    if place > clock.seconds(clock.num_frames) + Fraction(1, 100):
        end = float(clock.seconds(clock.num_frames))
        raise UsageError(f"{step.where}: {float(place):g}s is past the end: the video ends at {end:.3f} s")
    return clock.first_at(place)


def _check_whole(plan: Plan, bounds: Iterable[list[int]], clock: Clock) -> None:
    """Raise UsageError where the segments leave a gap, overlap, or go past the end."""
    last = 0
    for step, (start, end) in zip(plan.steps, bounds):
        if start != last:
            what = "a gap: no segment has" if start > last else "an overlap: another segment has"
            between = f"frames {min(start, last)} to {max(start, last)}"
            raise UsageError(f"{step.where} starts at {start}, the one before ends at {last}; {what} {between}")
        if end <= start:
            raise UsageError(f"{step.where} ends at {end}, at or before its start {start}")
        if end > clock.num_frames:
            raise UsageError(f"{step.where} ends at {end}, past the end: the video has {clock.num_frames} frames")
        last = end
    if last < clock.num_frames:
        raise UsageError(
            f"{plan.name}: the last segment ends at {last}, the video has {clock.num_frames} frames; add a segment for "
            f"the rest (operation drop leaves it out)"
        )


def check_video(path: Path) -> None:
    """Raise UsageError where this is no file, or by its first bytes no video."""
    if not path.is_file():
        raise UsageError(f"{path}: {'a folder, not a video' if path.is_dir() else 'no such file'}")
    if (kind := sniff(path)) != "video":
        raise UsageError(f"{path} is not a video ({'empty' if kind == 'empty' else kind.replace('other', 'no media')})")


def check_new_plan(path: Path) -> None:
    """Raise UsageError where a plan cannot be written, or one is there: it may have been worked on."""
    check_suffix(path, *SUFFIXES)
    if path.exists():
        raise UsageError(f"{path} is there already, and may have been worked on: remove it, or name another")
    check_writable(path)


def write_plan(path: Path, source: Path, segments: Sequence[Segment]) -> None:
    """Write a plan that keeps every segment as it is, to be worked on."""
    lines = [
        "# Each segment: keep, drop, translate, stylize, restore, speed or color, see docs/editing.md;",
        f"# then: vidiff edit {path.name} --output out.mp4",
        f"input: {json.dumps(str(source), ensure_ascii=False)}",  # JSON's strings are YAML's
        "segments:",
    ]
    for s in segments:
        values = f"{{start: {s.start}, end: {s.end}, operation: keep}}"
        lines.append(f"- {values}  # {s.start_s:.3f} s to {s.end_s:.3f} s")
    write_text(path, "\n".join([*lines, ""]))
