"""Run a benchmark, tabulate its results, verify one; or measure the data path or a training step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from vidiff.command_line import REST


def run(
    definition: Path,
    *,
    output: Path | None = None,
    data_root: Path | None = None,
    jobs: int = 2,
    only: list[str] | None = None,
    seeds: list[int] | None = None,
    cluster: Literal["none", "slurm", "local"] = "none",
    cluster_options: list[str] | None = None,
    markdown: Path | None = None,
    fit: Annotated[list[str] | None, REST] = None,
) -> None:
    """Train what is missing of a benchmark and print its tables.

    A run is finished when its report, or what results.jsonl holds of it, is of the configuration and the videos that it
    would have now; the rest is continued or run anew. One that fails is named at the end and stops nothing.

    Args:
        definition: a file of experiments/benchmarks, e.g. experiments/benchmarks/shapes.yaml.
        output: folder of the runs, and of results.jsonl (default: runs/bench/<name>).
        data_root: your folder of videos (default: the embedded set).
        jobs: runs at once, one thread each.
        only: these experiments of the benchmark alone.
        seeds: these seeds alone.
        cluster: an array of jobs through submitit; `local` tries it with processes of this machine.
        cluster_options: of submitit, as `slurm_partition=gpu timeout_min=600`.
        markdown: also write the tables to this file.
        fit: last: further arguments of every fit, e.g. --fit --data.fit crop.
    """
    from vidiff.bench.definition import load
    from vidiff.bench.missing import RESULTS, run_missing
    from vidiff.configs import find_experiment
    from vidiff.errors import RunError

    path = find_experiment(definition) or definition
    output = output or Path("runs") / "bench" / path.stem
    extra = [*(["--data.root", str(data_root)] if data_root else []), *(fit or [])]
    on = "" if cluster == "none" else cluster
    options, part = _options(cluster_options or []), dict(only=only or (), seeds=seeds or ())
    done = run_missing(load(path), output, extra, max(1, jobs), on, options, path.stem, **part)
    if done.finished:
        table([output / RESULTS], output=markdown)
    if done.failed:
        logs = ", ".join(str(run.log) for run in done.failed)
        raise RunError(f"{len(done.failed)} of {len(done.finished) + len(done.failed)} runs failed; see {logs}")


def table(
    results: list[Path],
    *,
    format_: Literal["md", "tex", "csv", "html"] = "md",
    metrics: list[str] | None = None,
    output: Path | None = None,
) -> None:
    """Print the tables of finished runs.

    Values of different protocols are refused, and what differs is named. The file is written in the format that its
    suffix says, with all metrics and the runs of each value in a CSV beside it.

    Args:
        results: results.jsonl, a folder of such files, or run folders.
        format_: of what is printed.
        metrics: beside the leading one, as many as have room in seven columns.
        output: also write it to this file: .md, .tex, .csv or .html.
    """
    from vidiff.bench import formats
    from vidiff.bench.rows import read_rows
    from vidiff.bench.table import check_rows, tables
    from vidiff.files import check_suffix, write_text

    if output:
        check_suffix(output, ".md", ".tex", ".csv", ".html")
    rows = read_rows(results)
    check_rows(rows)
    made = {"md": formats.markdown, "tex": formats.tex, "html": formats.html}

    def text(kind: str) -> str:
        return formats.csv(rows) if kind == "csv" else made[kind](tables(rows, metrics or ()))

    print(text(format_), end="")
    if output:
        write_text(output, text(output.suffix[1:].lower()))
        write_text(output.with_suffix(".csv"), text("csv"))


def verify(
    results: Path,
    *,
    row: str,
    output: Path | None = None,
    tolerance: float = 0.5,
) -> None:
    """Train one row of results again and compare its values.

    The run ends at the same clip as the one it repeats. On the same kind of processor with the same versions all values
    have to be equal to the last bit, elsewhere within the tolerance: rounding differs, and a game drifts apart by it.

    Args:
        results: results.jsonl, or a folder of such files; beside them lie the configurations, *.configs.json.
        row: name of the run, e.g. dcgan-seed0.
        output: folder of the new run (default: runs/verify/<row>).
        tolerance: relative difference that is accepted on another processor or with other versions.
    """
    from vidiff.bench.verify import report, verify
    from vidiff.errors import RunError

    found = verify(results, row, output or Path("runs") / "verify" / row, tolerance)
    print(report(found))
    if wrong := [check.metric for check in found.checks if not check.holds]:
        raise RunError(f"{row} was not reproduced: {', '.join(wrong)}")


def data(
    *,
    data_root: Path | None = None,
    num_frames: int = 16,
    resolution: int = 64,
    batch_size: int = 16,
    width: int = 32,
    seconds: float = 3.0,
    json_: bool = False,
) -> None:
    """Measure the speed of reading and augmenting.

    Args:
        data_root: folder of videos (default: the embedded set, data/shapes).
        num_frames, resolution, batch_size, width, seconds: see `vidiff.bench.data_costs.measure`.
        json_: print one JSON object.
    """
    import json

    from vidiff.bench.data_costs import measure, report

    result = measure(data_root, num_frames, resolution, batch_size, width, seconds)
    print(json.dumps(result, indent=2) if json_ else report(result))


def step(
    experiments: list[str] | None = None,
    *,
    rounds: int = 3,
    steps: int = 4,
    real: bool = False,
    max_batch: int | None = None,
    json_: Path | None = None,
    fit: Annotated[list[str] | None, REST] = None,
) -> None:
    """Measure what a training step costs, and where it goes.

    Seconds, work and memory of each experiment on one thread of the CPU, beside what this processor can do, and the
    shares of the players, the moving average, data, logging and Lightning with the rest of the step.

    Args:
        experiments, rounds, steps, real, max_batch: see `vidiff.bench.step_costs.measure`.
        json_: also write all figures to this file.
        fit: last: further arguments of `fit`, for every experiment, e.g. --fit --model.width 32.
    """
    from vidiff.bench.step_costs import measure, report
    from vidiff.files import check_writable, write_json

    if json_:
        check_writable(json_)
    result = measure(experiments or (), rounds, steps, real, max_batch, fit or ())
    print(report(result))
    if json_:
        write_json(json_, result)


def _options(words: list[str]) -> dict[str, int | str]:
    """`name=value` each; whole numbers are numbers."""
    from vidiff.errors import UsageError

    if odd := [w for w in words if "=" not in w]:
        raise UsageError(f"--cluster_options: expected name=value, got {odd[0]!r}")
    pairs = (w.split("=", 1) for w in words)
    return {name: int(value) if value.isdigit() else value for name, value in pairs}
