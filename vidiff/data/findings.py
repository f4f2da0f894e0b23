"""What was found in a folder of videos, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vidiff.errors import listed

NAMED = 50  # files that cannot be used


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """The lines of a `vidiff.data.advice.summary`."""
    frames = report["frames"]
    each = frames["min"] == frames["max"]
    span = f"{frames['min']} each" if each else f"{frames['min']} to {frames['max']}, median {frames['median']}"
    lines = [
        f"{report['root']}: {report['layout']}",
        f"videos       {report['videos']}",
        f"frames       {span}",
        f"sizes        {counted(report['sizes'])}",
        f"fps          {counted(report['fps']) or 'not known (images)'}",
    ]
    if report["classes"]:
        lines.append(f"classes      {len(report['classes'])}: {counted(report['classes'], 20)}")
    if report["domains"] and report["domains"] != report["classes"]:
        lines.append(f"domains      {len(report['domains'])}: {counted(report['domains'])}")
    if report["given_splits"]:
        lines.append(f"given splits {counted(report['given_splits'])}")
    return lines


def left_out_lines(bad: Sequence[tuple[str, str]], passed: Iterable[tuple[str, str]]) -> list[str]:
    """Files that are not used.

    Args:
        bad: (path, reason) of what cannot be used, one line each.
        passed: (path, reason) of what was passed over, by reason, with the first names.
    """
    lines = [f"cannot be used: {len(bad)}{listed([f'{path}: {reason}' for path, reason in bad], NAMED)}"] if bad else []
    reasons: dict[str, list[str]] = {}
    for path, reason in passed:
        reasons.setdefault(reason, []).append(path)
    if reasons:
        lines.append(f"passed over: {sum(map(len, reasons.values()))}")
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        lines.append(f"  {len(paths)}: {reason} ({', '.join(paths[:3])}{more})")
    return lines


def counted(counts: Mapping[str, int], most: int = 6) -> str:
    """`a (3), b (2), and 4 more`: the first names with their counts."""
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:most])
    return shown + (f", and {len(counts) - most} more" if len(counts) > most else "")
