"""A search over settings with Optuna: as many trials for every family, hopeless ones ended early, resumable."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vidiff.bench.definition import BUDGETS
from vidiff.bench.launch import last_line
from vidiff.errors import RunError, UsageError, at_least, unknown_name
from vidiff.files import read_yaml, write_text
from vidiff.progress import say

POLL_S = 0.5
STUDY = "study.db"


@dataclass
class Sweep:
    """What a file in `experiments/sweeps/` holds.

    Args:
        runs: names of experiments, searched each by itself.
        space: option of `fit` -> `{low, high}`, with `log: true` where its size is what is unknown and `step` for whole
            numbers, or `{choices: [...]}`.
        trials: of every experiment: the same search budget.
        metric: what is minimized, a value of the evaluations; the least one of a run counts.
        overlay: settings laid over every one of them.
        own_space: further options of single experiments, by name; their trials are no more.
        budget: what ends a trial, one of `clips`, `cpu_seconds` and `gpu_seconds`.
        seed: of the search and of the runs.
        patience: evaluations of a trial before it may be ended for being worse than the median of the others.
    """

    runs: list[str]
    space: dict[str, dict[str, Any]]
    trials: int
    metric: str = "val/clip_distance"
    overlay: dict[str, Any] = field(default_factory=dict)
    own_space: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    budget: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    patience: int = 1

    def of(self, name: str) -> dict[str, dict[str, Any]]:
        """The space of one experiment."""
        return {**self.space, **self.own_space.get(name, {})}


class Found(NamedTuple):
    """Of one experiment: its trials by what became of them, the best value and the settings that gave it."""

    name: str
    finished: int
    pruned: int
    failed: int
    value: float | None
    settings: dict[str, Any]


def load_sweep(path: Path) -> Sweep:
    """Read a definition.

    Raises:
        UsageError: no such file, an unknown key, a space without low and high or choices, or no budget.
    """
    keys = ", ".join(f.name for f in fields(Sweep))
    try:
        sweep = Sweep(**read_yaml(path))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such sweep") from None
    except TypeError as error:
        raise UsageError(f"{path} is no sweep: {' '.join(str(error).split())}; accepted keys: {keys}") from None
    at_least(1, **{f"{path}: trials": sweep.trials})
    if len(sweep.budget) != 1 or not set(sweep.budget) <= set(BUDGETS):
        raise UsageError(f"{path}: budget: one of {', '.join(BUDGETS)}, got {', '.join(sweep.budget) or 'none'}")
    for name in sweep.own_space:
        if name not in sweep.runs:
            raise UsageError(f"{path}: own_space: {unknown_name('experiment', name, sweep.runs)}")
    for space in (sweep.space, *sweep.own_space.values()):
        for option, range_ in space.items():
            given = set(range_) if isinstance(range_, dict) else set()
            if not (given == {"choices"} or {"low", "high"} <= given <= {"low", "high", "log", "step"}):
                raise UsageError(f"{path}: {option}: give choices, or low and high with log or step, got {range_}")
    return sweep


def search(sweep: Sweep, out: Path, extra: Sequence[str] = (), only: Sequence[str] = ()) -> list[Found]:
    """Search each experiment; what is already in `study.db` is not tried again, what was interrupted is.

    Args:
        sweep: what to search.
        out: folder of the trials, `<out>/<experiment>/trial-<number>`, and of the study.
        extra: further arguments of every fit.
        only: these experiments alone.

    Raises:
        UsageError: Optuna is not installed, or the study in `out` is of another space.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("a sweep needs Optuna: pip install 'vidiff[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    overlay = out / "overlay.yaml"
    write_text(overlay, yaml.safe_dump(sweep.overlay))
    if odd := [name for name in only if name not in sweep.runs]:
        raise UsageError(f"--only: {unknown_name('experiment', odd[0], sweep.runs)}")
    kind, amount = next(iter(sweep.budget.items()))
    say(f"{sweep.trials} trials for each of {len(only or sweep.runs)} experiments, {amount:,} {kind} a trial")
    return [_search_one(optuna, sweep, name, out, overlay, extra) for name in (only or sweep.runs)]


def _search_one(optuna: Any, sweep: Sweep, name: str, out: Path, overlay: Path, extra: Sequence[str]) -> Found:
    study = _study(optuna, sweep, name, out)
    for number in range(_counted(study), sweep.trials):
        trial = study.ask()
        words = _words(sweep, name, trial, out, overlay, extra)
        value = _run(trial, words, out / name / f"trial-{trial.number}", sweep)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            said = last_line(out / name / f"trial-{trial.number}.log")
            say(f"{name}: trial {number + 1} of {sweep.trials} FAILED: {said}")
        else:
            pruned = trial.user_attrs.get("pruned", False)
            # The value counts for the search either way: it is the best that was seen.
            study.tell(trial, None if pruned else value, state=None if not pruned else optuna.trial.TrialState.PRUNED)
            word = "ended early" if pruned else "done"
            say(f"{name}: trial {number + 1} of {sweep.trials} {word}, {sweep.metric} {value:.4g}, {trial.params}")
    return _found(optuna, study, name)


def _study(optuna: Any, sweep: Sweep, name: str, out: Path) -> Any:
    """The study of one experiment, from disk where there is one."""
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{(out / STUDY).resolve()}",
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=sweep.patience - 1),
    )
    about = {"space": sweep.of(name), "budget": sweep.budget, "metric": sweep.metric, "overlay": sweep.overlay}
    before = study.user_attrs.get("about")
    if before is not None and before != about:
        different = [key for key in about if before.get(key) != about[key]]
        raise UsageError(f"{out / STUDY} holds a search of {name} with another {', '.join(different)}: choose --output")
    study.set_user_attr("about", about)
    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):  # its process was killed
        optuna.trial.Trial(study, trial._trial_id).set_user_attr("interrupted", True)
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params)
    study.sampler = optuna.samplers.TPESampler(
        seed=sweep.seed + len(study.get_trials(deepcopy=False)), n_startup_trials=5
    )
    return study


def _counted(study: Any) -> int:
    """Trials that count towards the budget: all that were carried out, failed ones too, since a failure is a result."""
    return sum(t.state.is_finished() and not t.user_attrs.get("interrupted") for t in study.get_trials(deepcopy=False))


def _words(sweep: Sweep, name: str, trial: Any, out: Path, overlay: Path, extra: Sequence[str]) -> list[str]:
    """What `vidiff` is called with for a trial."""
    words = ["fit", "--config", f"experiments/{name}.yaml", "--config", str(overlay)]
    words += ["--seed_everything", str(sweep.seed), "--run_dir", str(out / name / f"trial-{trial.number}")]
    words += [word for kind, amount in sweep.budget.items() for word in (f"--{BUDGETS[kind]}", str(amount))]
    for option, space in sweep.of(name).items():
        words += [f"--{option}", _text(_suggested(trial, option, space))]
    return [*words, *extra]


def _suggested(trial: Any, option: str, space: dict[str, Any]) -> Any:
    if "choices" in space:
        return trial.suggest_categorical(option, space["choices"])
    low, high, step = space["low"], space["high"], space.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(option, low, high, step=step or 1, log=space.get("log", False))
    return trial.suggest_float(option, float(low), float(high), step=step, log=space.get("log", False))


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _run(trial: Any, words: list[str], folder: Path, sweep: Sweep) -> float | None:
    """Train, and end it where it is hopeless; the least value of the metric, None where it failed or has none."""
    log = folder.with_name(f"{folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "vidiff.bench.leash", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    reported = 0
    with log.open("a") as file:
        streams = dict(stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT)
        with subprocess.Popen(command, env=environment, **streams) as process:
            while True:
                code = process.poll()
                values = values_of(folder / "metrics.csv", sweep.metric)
                for number in range(reported, len(values)):
                    trial.report(min(values[: number + 1]), number)
                reported = len(values)
                if code is not None:
                    break
                if reported and trial.should_prune():
                    trial.set_user_attr("pruned", True)
                    process.terminate()
                    process.wait()
                    return min(values)
                time.sleep(POLL_S)
    return min(values) if code == 0 and values else None


def values_of(path: Path, metric: str) -> list[float]:
    """The evaluations of a run so far, without the one before its first step."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return []
    found = []
    for row in rows:
        try:
            if int(row["step"]) > 0 and row.get(metric):
                found.append(float(row[metric]))
        except (ValueError, TypeError, KeyError):
            pass  # a line that is being written
    return found


def _found(optuna: Any, study: Any, name: str) -> Found:
    states = optuna.trial.TrialState
    trials = study.get_trials(deepcopy=False)
    count = {s: sum(t.state == s for t in trials) for s in (states.COMPLETE, states.PRUNED)}
    failed = sum(t.state == states.FAIL and not t.user_attrs.get("interrupted") for t in trials)
    best = min((t for t in trials if t.state == states.COMPLETE), key=lambda t: t.value, default=None)
    value, settings = (best.value, dict(best.params)) if best else (None, {})
    return Found(name, count[states.COMPLETE], count[states.PRUNED], failed, value, settings)


def summary(sweep: Sweep, found: Sequence[Found]) -> str:
    """What was searched and found, for people; the settings as options of `fit`.

    Raises:
        RunError: every trial of an experiment failed.
    """
    kind, amount = next(iter(sweep.budget.items()))
    lines = [f"{sweep.trials} trials of {amount:,} {kind} for each family, lowest {sweep.metric}", ""]
    lines += ["| family | done | ended early | failed | best | settings |", "|---|---|---|---|---|---|"]
    for f in found:
        options = " ".join(f"--{k} {_text(v)}" for k, v in f.settings.items())
        value = "n/a" if f.value is None else f"{f.value:.4g}"
        lines.append(f"| {f.name} | {f.finished} | {f.pruned} | {f.failed} | {value} | {options} |")
    if lost := [f.name for f in found if f.failed and not f.finished + f.pruned]:
        raise RunError(f"every trial of {', '.join(lost)} failed; see its logs")
    return "\n".join(lines)
