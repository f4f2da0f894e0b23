"""Search learning rates and other settings, with as many trials for every family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vidiff.command_line import REST


def sweep(
    definition: Path,
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    only: list[str] | None = None,
    trials: int | None = None,
    fit: Annotated[list[str] | None, REST] = None,
) -> None:
    """Search settings with Optuna and print the best ones.

    Every family gets the same number of trials of the same budget; a trial that is worse than the median of the others
    at one of its evaluations is ended there. The search is kept in study.db, in SQLite: started again, it goes on.

    Args:
        definition: a file of experiments/sweeps, e.g. experiments/sweeps/games.yaml.
        output: folder of the trials and of study.db (default: runs/sweep/<name>).
        data_root: your folder of videos (default: the embedded set).
        only: these experiments alone.
        trials: of each, instead of what the file says.
        fit: last: further arguments of every fit.
    """
    from dataclasses import replace

    from vidiff.bench.sweep import load_sweep, search, summary
    from vidiff.configs import find_experiment
    from vidiff.errors import at_least

    path = find_experiment(definition) or definition
    what = load_sweep(path)
    if trials is not None:
        at_least(1, **{"--trials": trials})
        what = replace(what, trials=trials)
    extra = [*(["--data.root", str(data_root)] if data_root else []), *(fit or [])]
    print(summary(what, search(what, output or Path("runs") / "sweep" / path.stem, extra, only or ())))
