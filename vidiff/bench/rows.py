"""Results as lines of JSON: one a run and metric, each with all that it takes to trace, compare and repeat it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vidiff.bench.definition import Run
from vidiff.errors import RunError, UsageError
from vidiff.files import write_json, write_text
from vidiff.metrics.controls import controls_of
from vidiff.metrics.protocol import protocol_hash
from vidiff.training.run import config_hash

# Of a translation's directions, where the true counterparts are known, or a classifier's word.
OF_DIRECTIONS = ("psnr", "ssim", "psnr_gain", "ssim_gain", "target_accuracy", "position_error", "cycle_psnr")
MADE = ("model", "selection", "checkpoint_step", "steps", "config_hash", "git_commit", "versions", "hardware", "date")
COST = ("cpu_seconds", "gpu_seconds", "clips_seen", "sampling_s_per_clip", "peak_memory_mb", "parameters")
CONFIGS = ".configs.json"
Row = dict[str, Any]


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


def rows_of(run: Run, benchmark: str = "") -> list[Row]:
    """A row for each metric of a finished run.

    Args:
        run: its folder holds a `report.json`.
        benchmark: whose it is.

    Raises:
        RunError: it has no readable report.
    """
    report = read_report(run.report)
    about = {
        "benchmark": benchmark,
        "run": run.name,
        "family": run.experiment,
        "data_set": run.data_set or report.get("data", {}).get("dataset", ""),
        "data": report.get("data", {}).get("fingerprint"),
        "seed": run.seed,
    }
    made = {key: report.get(key) for key in MADE} | {"cost": {key: report.get(key) for key in COST}}
    controls = controls_of(report)
    if "config_hash" not in report:
        controls.pop("untrained", None)  # measured with BatchNorm's initial statistics, the model with its own
    return [
        about | {"metric": metric} | result | {"controls": _of(controls, metric)} | made
        for metric, result in _results(report)
    ]


def _results(report: dict[str, Any]) -> Iterable[tuple[str, Row]]:
    """Each metric with its value, floor, standard error and protocol."""
    for metric, found in report["metrics"].items():
        values = {key: found.get(key) for key in ("value", "floor", "se")}
        values |= {"leak": found["leak"]} if "leak" in found else {}
        yield metric, values | {"protocol": found["protocol"], "protocol_hash": protocol_hash(found["protocol"])}
    for direction, found in report.get("directions", {}).items():
        for name in OF_DIRECTIONS:
            if (value := found.get(name)) is None:
                continue
            metric = f"{name}_{direction}"
            data = report.get("data", {})
            size = {k: data.get(k) for k in ("fingerprint", "num_frames", "frame_stride", "resolution", "decode")}
            protocol = {"metric": metric, **report.get("protocol", {}), **size}
            values = {"value": value, "floor": found.get(f"oracle_{name}"), "se": None}
            yield metric, values | {"protocol": protocol, "protocol_hash": protocol_hash(protocol)}


def _of(controls: dict[str, dict[str, float | None]], metric: str) -> dict[str, float]:
    return {name: values[metric] for name, values in controls.items() if values.get(metric) is not None}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A file of results, whole or not at all."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def write_configs(path: Path, runs: Sequence[Run], rows: Sequence[Row]) -> None:
    """The whole configurations of rows beside them, by hash: `bench verify` repeats them under later code.

    Args:
        path: of the rows.
        runs: whose folders hold their configurations; those of other rows were written before.
        rows: whose configurations are wanted.
    """
    file = path.with_suffix(CONFIGS)
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for run in runs:
        if (config := run.folder / "config.yaml").exists():
            text = config.read_text(encoding="utf-8")
            found[config_hash(text)] = text
    wanted = dict.fromkeys(row["config_hash"] for row in rows)
    write_json(file, {name: found[name] for name in wanted if name in found})


def read_config(path: Path, name: str) -> str | None:
    """The configuration of that hash beside a file of results, or in a folder of such files; None: it is not there."""
    files = [path.with_suffix(CONFIGS)] if path.suffix == ".jsonl" else sorted(path.glob(f"*{CONFIGS}"))
    for file in files:
        if file.exists() and name in (found := json.loads(file.read_text(encoding="utf-8"))):
            return found[name]
    return None


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """Rows of files of results, of folders with such files, and of run folders.

    Args:
        paths: `results.jsonl`, a folder with files `*.jsonl`, a run folder `<experiment>-seed<seed>`, or a folder of
            those.

    Raises:
        UsageError: there is nothing of the kind. RunError: a file cannot be read.
    """
    rows: list[Row] = []
    for path in paths:
        if path.suffix == ".jsonl":
            rows += _read_file(path)
        elif found := sorted(path.glob("*.jsonl")):
            rows += [row for file in found for row in _read_file(file)]
        elif (path / "report.json").exists():
            rows += rows_of(as_run(path, path.name))
        elif folders := sorted(p.parent for p in path.rglob("report.json") if ".before-" not in p.parent.name):
            rows += [row for folder in folders for row in rows_of(as_run(folder, folder.relative_to(path).as_posix()))]
        else:
            what = "does not exist" if not path.exists() else "holds no results: no *.jsonl, no report.json"
            raise UsageError(f"{path} {what}")
    return rows


def as_run(folder: Path, name: str) -> Run:
    """A run by the name of its folder, `<experiment>-seed<seed>`."""
    experiment, _, seed = name.rpartition("-seed")
    number = int(seed) if experiment and seed.isdigit() else 0
    return Run(name, folder, [], experiment or name, "", number)


def _read_file(path: Path) -> list[Row]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} cannot be read as results: {error}") from error
    if odd := [row for row in rows if not isinstance(row, dict) or "metric" not in row or "protocol_hash" not in row]:
        raise RunError(f"{path} holds a line that is no result: {str(odd[0])[:80]}")
    return rows
