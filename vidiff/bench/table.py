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
    """The table: one row an experiment, mean ± standard deviation over seeds; then floor and controls.

    Raises:
        UsageError: there are no runs, or generators and translations among them.
    """
    if not groups:
        raise UsageError("no runs to tabulate")
    reports = [r for group in groups.values() for r in group]
    kinds = {"directions" in r for r in reports}
    if len(kinds) == 2:
        raise UsageError("generators and translations are measured by other numbers: give one kind")
    translates = kinds.pop()
    metrics = list(reports[0]["metrics"])
    verdict = ["ahead of the untouched source"] if translates else ["untrained / value", "ahead of all controls"]
    gains = _gains(reports[0]) if translates else []
    head = ["", "seeds", *metrics, *gains, *verdict, "CPU-s", "updates", "clips seen", "clips / CPU-s"]
    head += ["parameters G / D"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name, group in groups.items():
        cells = [name, str(len(group)), *[_spread([r["metrics"][m]["value"] for r in group]) for m in metrics]]
        cells += [_spread([_gains(r).get(g) for r in group]) for g in gains]
        cells += _ahead_of_source(group) if translates else _ahead_of_controls(group)
        cells += [_spread([r["cpu_seconds"] for r in group])]
        cells += [_spread([r["steps"] for r in group], 4), _spread([r["clips_seen"] for r in group], 6)]
        cells += [_spread([r["clips_seen"] / r["cpu_seconds"] if r["cpu_seconds"] else None for r in group])]
        cells += [f"{first_of(group, 'g'):,} / {first_of(group, 'd'):,}"]
        lines.append("| " + " | ".join(cells) + " |")
    # Latents and clips are keyed, so floor and controls but `untrained` are the same for every run of one seed.
    floor = [_spread([reports[0]["metrics"][m]["floor"]]) for m in metrics]
    blank = [""] * (len(head) - 2 - len(metrics))
    lines.append("| " + " | ".join(["*real against real*", "", *floor, *blank]) + " |")
    for name, values in _controls(reports[0]).items():
        cells = [_spread([values[m]]) if m in values else "" for m in metrics]
        lines.append("| " + " | ".join([f"*{name.replace('_', ' ')}*", "", *cells, *blank]) + " |")
    return "\n".join(lines) + "\n"


def _ahead_of_controls(group: list[dict[str, Any]]) -> list[str]:
    ratio = [r["controls"]["untrained"][LEAD] / r["metrics"][LEAD]["value"] for r in group]
    ahead = all(r["metrics"][LEAD]["value"] < min(r["controls"][c][LEAD] for c in CONTROLS) for r in group)
    return [_spread(ratio) + "x", "yes" if ahead else "NO"]


def _ahead_of_source(group: list[dict[str, Any]]) -> list[str]:
    """Whether the translations are nearer to the target in every direction than the clips they were made from."""
    pairs = [
        (r["metrics"][f"{LEAD}_{name}"]["value"], d["controls"]["identity"][LEAD])
        for r in group
        for name, d in r["directions"].items()
    ]
    return ["yes" if all(value < source for value, source in pairs) else "NO"]


def _gains(report: dict[str, Any]) -> dict[str, float]:
    """PSNR and SSIM over the untouched source, where the true counterparts are known: `psnr_gain_a2b` and so on."""
    found = {f"{g}_{name}": d.get(g) for name, d in report["directions"].items() for g in ("psnr_gain", "ssim_gain")}
    return {name: value for name, value in found.items() if value is not None}


def _controls(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Control -> metric -> value; a translation's by direction."""
    if "directions" not in report:
        return report["controls"]
    out: dict[str, dict[str, float]] = {}
    for direction, found in report["directions"].items():
        for control, values in found["controls"].items():
            out.setdefault(control, {}).update({f"{m}_{direction}": v for m, v in values.items()})
    return out


def first_of(reports: list[dict[str, Any]], player: str) -> int:
    return reports[0]["parameters"][player]
