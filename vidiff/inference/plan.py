"""The plan of an edit: a YAML that names a video's segments and what is done with each. No torch in here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.files import check_suffix, check_writable, write_text
from vidiff.video.filetype import sniff
from vidiff.video.segments import Segment

SUFFIXES = (".yaml", ".yml")


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
