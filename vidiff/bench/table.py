"""Reports of runs -> one table, refused where their values were measured differently."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from vidiff.errors import RunError, UsageError
from vidiff.metrics.protocol import check_comparable

LEAD = "fvd_random"
CONTROLS = ("untrained", "grey_noise", "mean_frame_frozen", "one_clip_repeated")


def read_reports(folders: list[Path], out: Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """Experiment -> the reports of its seeds.

    Args:
        folders: of the runs, `<experiment>-seed<seed>`.
        out: what an experiment's name is relative to, `ablations/plain`; None: its folder's own name.

    Raises:
        RunError: a folder has no report. UsageError: the runs' metrics have different protocols.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    protocols: dict[str, list[dict]] = {}
    for folder in folders:
        path = folder / "report.json"
        if not path.exists():
            raise RunError(f"{path} does not exist: the run is not finished")
        report = json.loads(path.read_text())
        run = folder.relative_to(out).as_posix() if out else folder.name
        groups.setdefault(run.rpartition("-seed")[0] or run, []).append(report)
        for name, result in report["metrics"].items():
            protocols.setdefault(name, []).append(result["protocol"])
    for records in protocols.values():
        check_comparable(records)
    return groups


def _spread(values: list[float | None], digits: int = 3) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "n/a"
    mean = f"{statistics.fmean(known):.{digits}g}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.2g}"


def markdown(groups: dict[str, list[dict[str, Any]]]) -> str:
    """The table: one row an experiment, mean ± standard deviation over seeds; then floor and controls."""
    if not groups:
        raise UsageError("no runs to tabulate")
    first = next(iter(groups.values()))[0]
    metrics = list(first["metrics"])
    head = [
        "",
        "seeds",
        *metrics,
        "untrained / value",
        "ahead of all controls",
        "CPU-s",
        "updates",
        "clips seen",
        "clips / CPU-s",
    ]
    head += ["parameters G / D"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name, reports in groups.items():
        lead = [r["metrics"][LEAD]["value"] for r in reports]
        ratio = [r["controls"]["untrained"][LEAD] / v for r, v in zip(reports, lead)]
        ahead = all(v < min(r["controls"][c][LEAD] for c in CONTROLS) for r, v in zip(reports, lead))
        cells = [name, str(len(reports)), *[_spread([r["metrics"][m]["value"] for r in reports]) for m in metrics]]
        cells += [_spread(ratio) + "x", "yes" if ahead else "NO", _spread([r["cpu_seconds"] for r in reports])]
        cells += [_spread([r["steps"] for r in reports], 4), _spread([r["clips_seen"] for r in reports], 6)]
        cells += [_spread([r["clips_seen"] / r["cpu_seconds"] if r["cpu_seconds"] else None for r in reports])]
        cells += [f"{first_of(reports, 'g'):,} / {first_of(reports, 'd'):,}"]
        lines.append("| " + " | ".join(cells) + " |")
    # Latents and clips are keyed, so floor and controls but `untrained` are the same for every run of one seed.
    floor = [_spread([first["metrics"][m]["floor"]]) for m in metrics]
    blank = [""] * (len(head) - 2 - len(metrics))
    lines.append("| " + " | ".join(["*real against real*", "", *floor, *blank]) + " |")
    for name, values in first["controls"].items():
        cells = [_spread([values[m]]) if m in values else "" for m in metrics]
        lines.append("| " + " | ".join([f"*{name.replace('_', ' ')}*", "", *cells, *blank]) + " |")
    return "\n".join(lines) + "\n"


def first_of(reports: list[dict[str, Any]], player: str) -> int:
    return reports[0]["parameters"][player]
