"""Reports of runs -> one table, refused where their values were measured differently."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from vidiff.errors import RunError, UsageError
from vidiff.metrics.controls import LEAD, compared, controls_of, standing
from vidiff.metrics.protocol import check_comparable


def read_report(path: Path) -> dict[str, Any]:
    """A run's `report.json`.

    Raises:
        RunError: it does not exist, or is not what a run writes.
    """
    if not path.exists():
        raise RunError(f"{path} does not exist: the run is not finished")
    try:
        report = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise RunError(f"{path} cannot be read as a report: {error}") from error
    if not isinstance(report, dict) or "metrics" not in report:
        raise RunError(f"{path} is no report of a run: it holds no `metrics`")
    return report


def read_reports(folders: list[Path], out: Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """Experiment -> the reports of its seeds.

    Args:
        folders: of the runs, `<experiment>-seed<seed>`.
        out: what an experiment's name is relative to, `ablations/plain`; None: its folder's own name.

    Raises:
        RunError: a folder has no readable report. UsageError: the runs' metrics have different protocols.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    protocols: dict[str, list[dict]] = {}
    for folder in folders:
        report = read_report(folder / "report.json")
        run = folder.relative_to(out).as_posix() if out else folder.name
        groups.setdefault(run.rpartition("-seed")[0] or run, []).append(report)
        if "config_hash" not in report and "controls" in report:
            # Older reports measured it with BatchNorm's initial statistics, the model with its own.
            report["controls"].pop("untrained", None)
        for name, result in report["metrics"].items():
            protocols.setdefault(name, []).append(result["protocol"])
    for records in protocols.values():
        check_comparable(records)
    return groups


def _spread(values: list[float | None], digits: int = 3) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "n/a"
    if len(set(known)) == 1:
        return f"{known[0]:.{digits}g}"
    return f"{statistics.fmean(known):.{digits}g} ± {statistics.stdev(known):.2g}"


def markdown(groups: dict[str, list[dict[str, Any]]]) -> str:
    """Two tables, one row an experiment, mean ± standard deviation over seeds: how good, with the controls; how dear.

    `untrained` is `fvd_random` of each run's own generator before its first step. `ahead of` and `behind` compare
    `fvd_random` with the controls' in the worst run (and direction); what every model has to be ahead of is bold.

    Raises:
        UsageError: there are no runs, or generators and translations among them.
    """
    if not groups:
        raise UsageError("no runs to tabulate")
    reports = [r for group in groups.values() for r in group]
    if len({"directions" in r for r in reports}) == 2:
        raise UsageError("generators and translations are measured by other numbers: give one kind")
    return _quality(groups, reports) + "\n" + _cost(groups)


def _quality(groups: dict[str, list[dict[str, Any]]], reports: list[dict[str, Any]]) -> str:
    """Metrics, controls and who is ahead of whom."""
    metrics = list(reports[0]["metrics"])
    translates = "directions" in reports[0]
    gains = _gains(reports[0]) if translates else []
    own = [] if translates else ["untrained"]
    rows = []
    for name, group in groups.items():
        cells = [name, str(len(group)), *[_spread([r["metrics"][m]["value"] for r in group]) for m in metrics]]
        cells += [_spread([_gains(r).get(g) for r in group]) for g in gains]
        cells += [_spread([r["controls"].get(c, {}).get(LEAD) for r in group]) for c in own]
        rows.append([*cells, *_standing(group)])
    floor = [_spread([r["metrics"][m]["floor"] for r in reports]) for m in metrics]
    rows.append(["*real against real*", "", *floor])
    everyone = [controls_of(r) for r in reports]
    for name, measured in everyone[0].items():
        if name not in own:
            cells = [_spread([c.get(name, {}).get(m) for c in everyone]) if m in measured else "" for m in metrics]
            rows.append([f"*{name.replace('_', ' ')}*", "", *cells])
    return _table(["", "seeds", *metrics, *gains, *own, "ahead of", "behind"], rows)


def _cost(groups: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for name, group in groups.items():
        cells = [name, _spread([r["cpu_seconds"] for r in group])]
        cells += [_spread([r["steps"] for r in group], 4), _spread([r["clips_seen"] for r in group], 6)]
        cells += [_spread([r["clips_seen"] / r["cpu_seconds"] if r["cpu_seconds"] else None for r in group])]
        parameters = group[0]["parameters"]
        rows.append([*cells, f"{parameters['g']:,} / {parameters['d']:,}"])
    return _table(["", "CPU-s", "updates", "clips seen", "clips / CPU-s", "parameters G / D"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row + [""] * (len(head) - len(row))) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _standing(group: list[dict[str, Any]]) -> list[str]:
    """How many controls all runs are ahead of, and by name those that any is behind."""
    pairs = [pair for report in group for pair in compared(report)]
    ahead, behind = standing(pairs)
    if not ahead and not behind:
        return ["n/a", "n/a"]
    names = [f"**{c.label}**" if c.shows == "rubbish" else c.label for c in behind]
    return [f"{len(ahead)} of {len(ahead) + len(behind)}", ", ".join(names) or "none"]


def _gains(report: dict[str, Any]) -> dict[str, float]:
    """PSNR and SSIM over the untouched source, where the true counterparts are known: `psnr_gain_a2b` and so on."""
    found = {f"{g}_{name}": d.get(g) for name, d in report["directions"].items() for g in ("psnr_gain", "ssim_gain")}
    return {name: value for name, value in found.items() if value is not None}
