"""Which runs of a benchmark are finished, by what they were made of, and running the others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from vidiff.bench.definition import Benchmark, Run, list_runs
from vidiff.bench.launch import here, on_cluster, shown
from vidiff.bench.rows import read_report, rows_of, write_configs, write_rows
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
) -> Outcome:
    """Train what has no report of its configuration and data yet; after each run, all rows go to `results.jsonl`.

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
    """
    runs = list_runs(benchmark, out, out / "settings", list(extra))
    done = Finished()
    state = {run.name: "done before" if done(run) else "waiting" for run in runs}
    missing = [run for run in runs if state[run.name] == "waiting"]
    say(f"{len(runs)} runs, {len(missing)} to train, at most {jobs} at once")

    def finished(_: Run | None = None) -> None:
        ready = _ready(runs, state)
        write_rows(out / RESULTS, [row for run in ready for row in rows_of(run, name)])
        write_configs(out / RESULTS, ready)

    with shown(runs, state):
        if cluster:
            on_cluster(missing, jobs, state, finished, cluster, out / "jobs", options or {})
        else:
            here(missing, jobs, state, finished)
    finished()
    return Outcome(_ready(runs, state), [run for run in runs if state[run.name] == "FAILED"])


def _ready(runs: Sequence[Run], state: dict[str, str]) -> list[Run]:
    return [run for run in runs if state[run.name] in ("done", "done before")]


class Finished:
    """Says whether a run is finished as it would be now; one that was something else is put aside."""

    def __init__(self):
        self._prints: dict[str, str | None] = {}

    def __call__(self, run: Run) -> bool:
        report, config = run.folder / "report.json", run.folder / "config.yaml"
        data = None
        if report.exists():
            before = read_report(report)
            data, before = before.get("data", {}).get("fingerprint"), before.get("config_hash")
            if before is None:
                say(f"{run.name}: {report} is of an older version and does not say of which configuration: not "
                    "checked, taken as it is. Remove the folder to run it anew.")  # fmt: skip
                return True
        elif config.exists():
            before = config_hash(config.read_text())
        else:
            return False
        try:
            now = resolved_config(run.arguments)
            same_data = data is None or data == self._data(now)
        except (UsageError, RunError) as error:
            say(f"{run.name}: {' '.join(str(error).split())}")
            return False  # `fit` says so too, and leaves what is there alone
        if before == config_hash(now) and same_data:
            return report.exists()
        names = (run.folder.with_name(f"{run.folder.name}.before-{number}") for number in itertools.count(1))
        aside = run.folder.rename(next(name for name in names if not name.exists()))
        what = "its configuration has" if same_data else "the videos have"
        say(f"{run.name}: {what} changed since it was run: runs anew, the old run is {aside}")
        return False

    def _data(self, config: str) -> str | None:
        """Fingerprint of the data of a configuration; every data set is looked at once."""
        section = yaml.safe_load(config)["data"]
        section["init_args"].pop("seed", None)
        key = json.dumps(section, sort_keys=True, default=str)
        if key not in self._prints:
            self._prints[key] = data_fingerprint(section)
        return self._prints[key]


def data_fingerprint(section: dict[str, Any]) -> str:
    """Of the videos that a configuration's section `data` names, by their contents."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    module = parser.instantiate_classes(parser.parse_object({"data": section})).data
    module.prepare_data()
    module.setup("fit")
    return module.describe()["fingerprint"]
