"""Say what is wrong with a training run, why, and what to try."""

from __future__ import annotations

from pathlib import Path


def doctor(runs: list[Path], *, json_: bool = False) -> None:
    """Say in words what is wrong with training runs, finished or not: the evidence, and what to try.

    Args:
        runs: run folders.
        json_: print JSON instead of text.
    """
    import json

    from vidiff.doctor import Diagnosis, diagnose
    from vidiff.doctor.evidence import gather

    found: dict[Path, Diagnosis] = {run: diagnose(gather(run)) for run in runs}
    if json_:
        told = {str(r): {"findings": [vars(f) for f in d.findings], "unjudged": d.unjudged} for r, d in found.items()}
        print(json.dumps(told, indent=2))
        return
    for run, diagnosis in found.items():
        _print(run, diagnosis)


def _print(run: Path, diagnosis) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from vidiff.doctor.examine import WORDS

    console = Console(highlight=False)
    console.print(Text(str(run), style="bold"), soft_wrap=True)
    style = {"bad": "bold red", "note": "yellow", "good": "green"}
    for finding in diagnosis.findings:
        console.print(Text.assemble((f"{finding.level:>6}  ", style[finding.level]), (finding.title, "bold")))
        for text in (finding.evidence, f"Try: {finding.advice}" if finding.level != "good" else finding.advice):
            console.print(Padding(Text(text), (0, 0, 0, 8)))
    if diagnosis.unjudged:
        console.print(Text("  Not judged:", style="dim"))
        for name, why in diagnosis.unjudged.items():
            console.print(Padding(Text(f"{WORDS[name]}: {why}", style="dim"), (0, 0, 0, 8)))
