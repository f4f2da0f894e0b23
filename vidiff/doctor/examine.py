"""All rules on one run, in the order of causes: what comes first explains what comes behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vidiff.doctor.evidence import Evidence, gather
from vidiff.doctor.finding import CannotJudge, Finding
from vidiff.doctor.game import collapsed, d_won, diverged, memorizing, still
from vidiff.doctor.looks import copy, flicker, grid
from vidiff.doctor.measuring import few_clips, improving, starved

Rule = Callable[[Evidence], Finding | None]
RULES: dict[str, Rule] = {
    "diverged": diverged,
    "still": still,
    "collapsed": collapsed,
    "copy": copy,
    "d_won": d_won,
    "memorizing": memorizing,
    "grid": grid,
    "flicker": flicker,
    "few_clips": few_clips,
    "starved": starved,
    "improving": improving,
}
UNEXPECTED = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError)  # a report of another make
WORDS = {  # of the rules, for what could not be judged
    "diverged": "diverged",
    "still": "G stands still",
    "collapsed": "collapsed",
    "copy": "stayed a copy",
    "d_won": "D has won",
    "memorizing": "learnt by heart",
    "grid": "grid",
    "flicker": "flicker",
    "few_clips": "too few clips",
    "starved": "starved of data",
    "improving": "still improving",
}


@dataclass(frozen=True)
class Diagnosis:
    """What the rules say of a run.

    Args:
        findings: what is wrong first, in the order of `RULES`, then notes; one of level `good` where nothing is wrong.
        unjudged: rule -> why it could not be judged.
    """

    findings: list[Finding]
    unjudged: dict[str, str]


def diagnose(evidence: Evidence, rules: Mapping[str, Rule] = RULES) -> Diagnosis:
    """Every rule on a run's evidence.

    Args:
        evidence: see `gather`.
        rules: some of `RULES`.
    """
    findings: list[Finding] = []
    unjudged: dict[str, str] = {}
    for name, rule in rules.items():
        try:
            found = rule(evidence)
        except CannotJudge as why:
            unjudged[name] = str(why)
        except UNEXPECTED as error:
            unjudged[name] = f"the run's files hold something unexpected ({type(error).__name__}: {error})"
        else:
            findings += [found] if found else []
    if findings and findings[0].kind == "diverged":
        findings = findings[:1]  # what numbers that are none say besides is of no use
    findings.sort(key=lambda f: f.level != "bad")
    if not any(f.level == "bad" for f in findings):
        findings.append(_fine(len(rules) - len(unjudged), len(rules)))
    return Diagnosis(findings, unjudged)


def _fine(judged: int, rules: int) -> Finding:
    return Finding(
        "fine",
        "Nothing is wrong, as far as the rules can tell." if judged else "Nothing can be said of this run yet.",
        f"{judged} of {rules} rules could be judged.",
        "Look at the samples all the same: rules read numbers.",
        "good",
    )


def examine(run_dir: Path) -> list[Finding]:
    """What the doctor finds in a run folder, the most important first.

    Raises:
        UsageError: it is not the folder of a run. RunError: its tables are damaged.
    """
    return diagnose(gather(Path(run_dir))).findings
