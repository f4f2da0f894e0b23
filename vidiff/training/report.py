"""The final table of a run, for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vidiff.metrics.controls import lead_of, standing
from vidiff.zoo.cards import METHODS, OF_METHODS


def number(value: float | None) -> str:
    """Four digits of a value; `n/a` where there is none."""
    return "n/a" if value is None else f"{value:.4g}"


def _title(report: dict[str, Any]) -> str:
    """A checkpoint of step 250 after 1,000 steps is not one of 1,000 steps."""
    of = f"{report['checkpoint']} of step {report['checkpoint_step']}"
    return f"{report['model']}: {of}, {report['steps']} generator steps"


def print_report(report: dict[str, Any], path: Path, files: dict[str, Path]) -> None:
    """Metrics with floors, controls beside them, and where everything lies."""
    console = Console()
    metrics, controls = report["metrics"], report["controls"]
    table = Table(title=_title(report))
    table.add_column("clips")
    for metric, result in metrics.items():
        table.add_column(metric, justify="right", style="dim" if "leak" in result else None)
    table.add_row("generated", *[number(r["value"]) for r in metrics.values()], style="bold")
    table.add_row("real against real (floor)", *[number(r["floor"]) for r in metrics.values()], end_section=True)
    for name, values in controls.items():
        table.add_row(name.replace("_", " "), *[number(values[m]) if m in values else "" for m in metrics])
    console.print(table)
    for metric, result in metrics.items():
        if "leak" in result:
            console.print(f"Do not go by {metric}: {result['leak']}.")
    if (lead := lead_of(metrics)) in metrics:
        others = {name: values.get(lead) for name, values in controls.items()}
        for line in _verdict(lead, metrics[lead]["value"], others):
            console.print(line)
    console.print(f"The best checkpoint has the {report['selection']}.")
    console.print(
        "motion and diversity are ratios to real clips (1 is right); clip_distance and fvd_random are no FVD."
    )
    if parts := metrics.get("recognizable", {}).get("parts"):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in parts.items() if name != "mean")
        console.print(f"recognizable is the share of clips in which shape and motion can be named; parts: {shares}.")
    _print_places(console, path, files)


def _verdict(lead: str, value: float | None, controls: dict[str, float | None]) -> list[str]:
    """Which controls a model is ahead of and which it is behind, in words; what it must not be behind comes first."""
    ahead, behind = standing([(value, controls)])
    names = [", ".join(c.label for c in side) or "none" for side in (ahead, behind)]
    lines = [f"By {lead} ahead of: {names[0]}; behind: {names[1]}."]
    if rubbish := [c.label for c in behind if c.shows == "rubbish"]:
        lines.insert(0, f"NOT ahead of {', '.join(rubbish)}: by {lead} this model has learnt nothing yet.")
    return lines


def _print_places(console: Console, path: Path, files: dict[str, Path]) -> None:
    console.print(f"report   {path}", soft_wrap=True)
    for suffix, file in files.items():
        console.print(f"{'sheet' if suffix == 'png' else suffix:<8} {file}", soft_wrap=True)


def print_translation_report(report: dict[str, Any], path: Path, files: dict[str, Path]) -> None:
    """A row for each direction, the copy and the oracle beside it, and where everything lies."""
    console = Console(width=None if sys.stdout.isatty() else 140)  # a file has no width: no cell is cut
    table = Table(title=_title(report))
    lead = lead_of(report["metrics"])
    columns = ("direction", lead, "psnr", "ssim", "cycle psnr", "flicker - source's", "grid", "position error")
    columns += ("taken for the target",)
    keys = ("psnr", "ssim", "cycle_psnr", "flicker_difference", "nyquist_ratio", "position_error")
    for column in columns:
        table.add_column(column, justify="left" if column == "direction" else "right")
    for name, d in report["directions"].items():
        fvd = report["metrics"].get(f"{lead}_{name}", {})
        accuracy = d.get("target_accuracy")
        table.add_row(
            f"{name}: {' '.join(d['sources'])} to {d['target']}",
            number(fvd.get("value")),
            *[number(d.get(k)) for k in keys],
            "n/a" if accuracy is None else f"{accuracy:.0%}",
            style="bold",
        )
        if "psnr_gain" in d:
            table.add_row("  gain over identity", "", f"{d['psnr_gain']:+.2f} dB", f"{d['ssim_gain']:+.3f}")
        for control, label in (("identity", "untranslated"), ("oracle", "true counterpart, re-encoded")):
            if control in d["controls"]:
                paired = [number(d.get(f"{control}_{k}")) for k in ("psnr", "ssim")]
                place = number(d.get(f"{control}_position_error"))
                table.add_row(f"  {label}", number(d["controls"][control].get(lead)), *paired, "", "", place)
        table.add_row("  real against real (floor)", number(fvd.get("floor")), end_section=True)
    console.print(table)
    real = ", ".join(f"{k} {v:.0%}" for k, v in report["classifier"]["accuracy_on_real"].items())
    console.print(f"The classifier is right on real {report['classifier']['split']} clips: {real}.")
    if (position := report["position_regressor"]) is not None:
        errors = ", ".join(f"{k} {v:.2f}" for k, v in position["error_on_real"].items())
        console.print(
            f"The position error is in pixels of the clip; the regressor's own on real {position['split']} clips: "
            f"{errors}."
        )
    console.print(f"The best checkpoint has the {report['selection']}.")
    _print_places(console, path, files)


STYLE_MEASURES = {  # of a style transfer -> how its table calls them
    "gram_ratio": "Gram distance to the style / source's",
    "content_cosine": "content cosine to the source",
    "warp_ratio": "warp error / source's",
    "objective": "objective",
}


def print_style_report(report: dict[str, Any], path: Path, files: dict[str, Path]) -> None:
    """A row a measure, and where everything lies."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    for found in report["directions"].values():
        table = Table(title=_title(report))
        table.add_column("clips in the style")
        for name, label in (("stylized", "stylized"), ("untouched", "source")):
            table.add_column(label, justify="right", style="bold" if name == "stylized" else None)
        for name, label in STYLE_MEASURES.items():
            untouched = "" if name == "objective" else "1"
            table.add_row(label, number(found.get(name)), untouched)
        console.print(table)
    console.print("A lower Gram distance is nearer to the style; a warp error of 1 flickers as much as the source.")
    console.print(f"The best checkpoint has the {report['selection']}.")
    _print_places(console, path, files)


def print_restoration_report(report: dict[str, Any], path: Path, files: dict[str, Path]) -> None:
    """A row for each way to restore, and where everything lies."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title=_title(report))
    for column in ("clips", *OF_METHODS.values()):
        table.add_column(column, justify="left" if column == "clips" else "right")
    for name, label in METHODS.items():
        if (values := report["methods"].get(name)) is not None:
            strength = f" (h = {values['strength']:g})" if "strength" in values else ""
            cells = [number(values.get(k)) for k in OF_METHODS]
            table.add_row(label + strength, *cells, style="bold" if name == "restored" else None)
    console.print(table)
    console.print("Sharpness is the energy of gradients: 1 is right; above it there is noise or what was never there.")
    console.print(f"The best checkpoint has the {report['selection']}.")
    _print_places(console, path, files)
