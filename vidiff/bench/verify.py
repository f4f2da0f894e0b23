"""One row of results, trained again: equal to the last bit on the same kind of processor, near it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vidiff.bench.definition import BUDGETS, Run
from vidiff.bench.launch import last_line, train
from vidiff.bench.rows import CONFIGS, Row, read_config, read_rows, rows_of
from vidiff.errors import RunError, UsageError, unknown_name
from vidiff.files import write_text
from vidiff.progress import say
from vidiff.training.machine import hardware, versions

EQUAL = ("cpu", "machine", "threads", "gpu")  # of the hardware, for bits to be equal
VERSIONS = ("torch", "numpy", "av", "decord")


class Check(NamedTuple):
    """One metric: its value in the results, the value now, whether that is near enough."""

    metric: str
    before: float | None
    now: float | None
    holds: bool


class Verdict(NamedTuple):
    """Of a row. `differs`: what is not the same here, so that values need not be equal; empty: to the last bit."""

    row: str
    differs: list[str]
    tolerance: float
    checks: list[Check]


def verify(results: Path, name: str, output: Path, tolerance: float) -> Verdict:
    """Train the run of that name again and compare all of its metrics.

    Args:
        results: a file of results, or a folder of such files, with the configurations beside.
        name: of a run.
        output: folder of the new run.
        tolerance: relative difference that is accepted where something differs.

    Raises:
        UsageError: no such run or configuration, other videos, or metrics that are measured differently today.
        RunError: it failed.
    """
    rows = read_rows([results])
    mine = [row for row in rows if row["run"] == name]
    if not mine:
        raise UsageError(f"--row: {unknown_name('run', name, dict.fromkeys(row['run'] for row in rows))}")
    first = mine[0]
    config = read_config(results, first["config_hash"])
    if config is None:
        raise UsageError(f"{name}: its configuration, {first['config_hash']}, is not beside {results} (*{CONFIGS})")
    run = _again(first, config, output)
    say(f"{name}: training again up to {first['cost']['clips_seen']:,} clips, log {run.log}")
    if train(run):
        raise RunError(f"{name} failed: {last_line(run.log)}; see {run.log}")
    again = {row["metric"]: row for row in rows_of(run)}
    if next(iter(again.values()))["data"] != first["data"]:
        raise UsageError(f"{name} was trained on other videos: the fingerprint of the data differs")
    differs = _differs(first, next(iter(again.values())))
    return Verdict(
        name, differs, tolerance, [_check(row, again.get(row["metric"]), differs, tolerance) for row in mine]
    )


def _again(row: Row, config: str, output: Path) -> Run:
    """The run of a row as it was configured, ended by clips instead of by time."""
    file = output.with_name(f"{output.name}.yaml")
    write_text(file, config)
    words = ["fit", "--config", str(file), "--run_dir", str(output)]
    words += [word for option in BUDGETS.values() for word in (f"--{option}", "null")]
    return Run(row["run"], output, [*words, "--budget_clips", str(row["cost"]["clips_seen"])], row["family"])


def _differs(before: Row, now: Row) -> list[str]:
    """What may change the last bit."""
    old, new = before.get("hardware") or {}, now.get("hardware") or hardware()
    found = [f"{key}: {old.get(key)} then, {new.get(key)} now" for key in EQUAL if old.get(key) != new.get(key)]
    old, new = before.get("versions") or {}, now.get("versions") or versions()
    return found + [f"{k}: {old.get(k)} then, {new.get(k)} now" for k in VERSIONS if old.get(k) != new.get(k)]


def _check(row: Row, now: Row | None, differs: list[str], tolerance: float) -> Check:
    before, value = row["value"], None if now is None else now["value"]
    if now is not None and now["protocol_hash"] != row["protocol_hash"]:
        raise UsageError(f"{row['metric']} is measured differently today: the hash of its protocol differs")
    if before is None or value is None:
        return Check(row["metric"], before, value, before is value)
    near = before == value if not differs else abs(before - value) <= tolerance * max(abs(before), abs(value))
    return Check(row["metric"], before, value, near)


def report(verdict: Verdict) -> str:
    """For people."""
    lines = [f"{verdict.row}: {'; '.join(verdict.differs) or 'same kind of processor, same versions'}"]
    lines.append(f"expected: {f'within {verdict.tolerance:.0%}' if verdict.differs else 'equal to the last bit'}")
    for check in verdict.checks:
        word = "yes" if check.holds else "NO"
        lines.append(f"  {check.metric:24} {check.before!r:>24} {check.now!r:>24}  {word}")
    return "\n".join(lines)
