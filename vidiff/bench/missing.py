"""Which runs of a benchmark are finished, by what they were made of, and running the others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from vidiff.bench.definition import Benchmark, Run, chosen, list_runs
from vidiff.bench.launch import here, on_cluster, shown
from vidiff.bench.rows import Row, read_report, read_rows, rows_of, write_configs, write_rows
from vidiff.errors import RunError, UsageError
from vidiff.progress import say
from vidiff.training.cli import resolved_config
from vidiff.training.run import config_hash

RESULTS = "results.jsonl"


class Outcome(NamedTuple):
    """Runs that are finished, in order, and those that failed."""

    finished: list[Run]
    failed: list[Run]


def run_missing(
    benchmark: Benchmark,
    out: Path,
    extra: Sequence[str] = (),
    jobs: int = 1,
    cluster: str = "",
    options: dict[str, Any] | None = None,
    name: str = "",
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Outcome:
    """Train what has no result of its configuration and data yet; after each run, all rows go to `results.jsonl`.

    Rows that are there of other configurations, or of runs that are not in the benchmark, are dropped; those of another
    machine's part stay, and count as finished without their run folders.

    Args:
        benchmark: what to run.
        out: folder of the runs: `<out>/<experiment>-seed<seed>`, each with its log next to it. A run that was
            interrupted is continued; one of another configuration or other data than it would have now is put aside
            under another name and run anew. A report of an older version does not hold its configuration: it is
            named, and taken.
        extra: further arguments of `fit`, such as `--data.root DIR`.
        jobs: runs at once.
        cluster, options: see `vidiff.bench.launch.on_cluster`; "": on this machine.
        name: of the benchmark, for the rows.
        only, seeds: these experiments and seeds alone; seeds may be further ones.
    """
    every = replace(benchmark, seeds=list(dict.fromkeys([*benchmark.seeds, *seeds])))
    every = list_runs(every, out, out / "settings", list(extra))
    runs = chosen(every, only, seeds)
    done = Finished(_rows_by_run(out / RESULTS))
    state = {run.name: "done before" if done(run) else "waiting" for run in runs}
    missing = [run for run in runs if state[run.name] == "waiting"]
    say(f"{len(runs)} runs, {len(missing)} to train, at most {jobs} at once")

    def finished(_: Run | None = None) -> None:
        ready = {run.name: run for run in _ready(runs, state)}
        known = _rows_by_run(out / RESULTS)  # anew: another process may have finished another part
        rows = []
        for run in every:
            if run.name in ready and run.has_report:
                rows += rows_of(run, name)
            elif run.name in ready or run.name not in state:
                rows += known.get(run.name, [])
        write_rows(out / RESULTS, rows)
        write_configs(out / RESULTS, list(ready.values()), rows)

    with shown(runs, state):
        if cluster:
            on_cluster(missing, jobs, state, finished, cluster, out / "jobs", options or {})
        else:
            here(missing, jobs, state, finished)
    finished()
    return Outcome(_ready(runs, state), [run for run in runs if state[run.name] == "FAILED"])


def _rows_by_run(path: Path) -> dict[str, list[Row]]:
    """Those of a file of results, if there is one."""
    rows: dict[str, list[Row]] = {}
    for row in read_rows([path]) if path.exists() else []:
        rows.setdefault(row["run"], []).append(row)
    return rows


def _ready(runs: Sequence[Run], state: dict[str, str]) -> list[Run]:
    return [run for run in runs if state[run.name] in ("done", "done before")]


class Finished:
    """Says whether a run is finished as it would be now; one that was something else is put aside.

    Args:
        rows: results by the name of the run, of runs whose folders may be elsewhere.
    """

    def __init__(self, rows: dict[str, list[Row]] | None = None):
        self._rows = rows or {}
        self._prints: dict[str, str | None] = {}

    def __call__(self, run: Run) -> bool:
        folder = (run.folder / "config.yaml").exists() or run.has_report
        if not folder and run.name not in self._rows:
            return False
        before, data = _made_of(run) if folder else [self._rows[run.name][0][key] for key in ("config_hash", "data")]
        if before is None:
            say(f"{run.name}: {run.report} is of an older version and does not say of which configuration: not "
                "checked, taken as it is. Remove the folder to run it anew.")  # fmt: skip
            return True
        try:
            now = resolved_config(run.arguments)
            same_data = data is None or data == self._data(now)
        except (UsageError, RunError) as error:
            say(f"{run.name}: {' '.join(str(error).split())}")
            return False  # `fit` says so too, and leaves what is there alone
        if before == config_hash(now) and same_data:
            return run.has_report or not folder
        what = "its configuration has" if same_data else "the videos have"
        old = f", the old run is {_put_aside(run.folder)}" if folder else ""
        say(f"{run.name}: {what} changed since it was run: runs anew{old}")
        return False

    def _data(self, config: str) -> str | None:
        """Fingerprint of the data of a configuration; every data set is looked at once."""
        section = yaml.safe_load(config)["data"]
        section["init_args"].pop("seed", None)
        key = json.dumps(section, sort_keys=True, default=str)
        if key not in self._prints:
            self._prints[key] = data_fingerprint(section)
        return self._prints[key]


def _made_of(run: Run) -> tuple[str | None, str | None]:
    """Configuration hash and fingerprint of the videos of a run folder; the latter None where it is not finished."""
    if not run.has_report:
        return config_hash((run.folder / "config.yaml").read_text()), None
    report = read_report(run.report)
    return report.get("config_hash"), report.get("data", {}).get("fingerprint")


def _put_aside(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.before-{number}") for number in itertools.count(1))
    return folder.rename(next(name for name in names if not name.exists()))


def data_fingerprint(section: dict[str, Any]) -> str:
    """Of the videos that a configuration's section `data` names, by their contents."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    module = parser.instantiate_classes(parser.parse_object({"data": section})).data
    module.prepare_data()
    module.setup("fit")
    return module.describe()["fingerprint"]
