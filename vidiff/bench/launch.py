"""Training what is missing of a benchmark: here, several at a time, or as an array of jobs on a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidiff.bench.definition import Run
from vidiff.errors import UsageError
from vidiff.progress import Lines, on_terminal, say

REFRESH_S = 1.0
RUNNING: set[subprocess.Popen] = set()  # trainings of this process
State = dict[str, str]  # name of a run -> waiting, running, done, FAILED, or done before


def train(run: Run) -> int:
    """Train in a process of its own, from its last checkpoint where there is one; its exit code."""
    command = [sys.executable, "-m", "vidiff.bench.leash", *run.arguments]
    if (run.folder / "checkpoints" / "last.ckpt").exists():
        command += ["--ckpt_path", "last"]
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with run.log.open("a") as log:
        streams = dict(stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
        with subprocess.Popen(command, env=environment, **streams) as process:
            RUNNING.add(process)
            try:
                return process.wait()  # standard input is closed afterwards, or when this process is gone
            finally:
                RUNNING.discard(process)


def here(runs: Sequence[Run], jobs: int, state: State, finished: Callable[[Run], None]) -> None:
    """`jobs` at a time on this machine.

    Args:
        runs: to train, in this order.
        jobs: at once, one thread each.
        state: gets what becomes of each.
        finished: called in this thread after each that succeeded.
    """

    def one(run: Run) -> int:
        state[run.name] = "running"
        return train(run)

    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(one, run): run for run in runs}
        _wait(futures, lambda f: f.done(), _result, state, finished)
    except BaseException:  # Ctrl+C, SIGTERM: the trainings end too, and go on when this is called again
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(RUNNING):
            process.terminate()
        raise
    pool.shutdown()


def on_cluster(
    runs: Sequence[Run],
    jobs: int,
    state: State,
    finished: Callable[[Run], None],
    cluster: str,
    folder: Path,
    options: dict[str, Any],
) -> None:
    """One array of jobs through submitit, at most `jobs` of them at a time.

    Args:
        runs, jobs, state, finished: see `here`.
        cluster: `slurm`, or `local`: processes of this machine, to try it.
        folder: of the jobs' own logs, on a disk that all machines see, as the runs are.
        options: of `submitit.AutoExecutor.update_parameters`, such as `timeout_min`, `slurm_partition`.

    Raises:
        UsageError: submitit is not installed, there is no such cluster here, or it does not know an option.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError("--cluster needs submitit: pip install 'vidiff[cluster]'") from None
    own = {"name": "vidiff-bench", "cpus_per_task": 1, "timeout_min": 24 * 60}
    own |= {"slurm_array_parallelism": jobs} if cluster == "slurm" else {}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**{**own, **options})
    except (RuntimeError, NameError, TypeError, AssertionError) as error:
        raise UsageError(f"--cluster {cluster}: {' '.join(str(error).split())}") from None
    # The local executor has no queue of its own: as many at once as there are in a batch.
    size = jobs if cluster == "local" else len(runs)
    for start in range(0, len(runs), size):
        part = runs[start : start + size]
        with executor.batch():
            submitted = [executor.submit(train, run) for run in part]
        state.update({run.name: "running" for run in part})
        _wait(dict(zip(submitted, part)), lambda job: job.done(), _code, state, finished)


def _result(future: Any) -> int:
    """Of a run here; one that could not even be started counts as failed."""
    try:
        return future.result()
    except OSError as error:
        say(f"a run could not be started: {error}")
        return 1


def _code(job: Any) -> int:
    """Of a submitted job; one that was lost counts as failed."""
    try:
        return job.result()
    except Exception as error:
        say(f"job {job.job_id}: {' '.join(str(error).split())[:300]}")
        return 1


def _wait(
    pending: dict[Any, Run],
    done: Callable[[Any], bool],
    code: Callable[[Any], int],
    state: State,
    finished: Callable[[Run], None],
) -> None:
    """Until all are done; one that fails stops nothing."""
    pending = dict(pending)
    while pending:
        for task in [t for t in pending if done(t)]:
            run = pending.pop(task)
            failed = code(task) != 0
            state[run.name] = "FAILED" if failed else "done"
            if not failed:
                finished(run)
        if pending:
            time.sleep(REFRESH_S / 4)


@contextmanager
def shown(runs: Sequence[Run], state: State) -> Iterator[None]:
    """What becomes of the runs, while the block lasts: a table that is drawn anew on a terminal, else lines."""
    import threading

    over = threading.Event()
    target = _draw if on_terminal() else _tell
    thread = threading.Thread(target=target, args=(runs, state, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell(runs: Sequence[Run], state: State, over: Any) -> None:
    """A line for every change, and how far those are that run now and then."""
    told, lines, last = dict(state), Lines(), False
    while not last:
        last = over.wait(REFRESH_S / 4)
        for run in runs:
            if (now := state[run.name]) != told[run.name]:
                told[run.name] = now
                finished = sum(s in ("done", "done before") for s in state.values())
                say(f"{run.name}: {now}" + (f", {finished} of {len(runs)}" if now == "done" else f", log {run.log}"))
        if not last and lines.due(None):
            for run in runs:
                if state[run.name] == "running":
                    say(f"{run.name}: {last_line(run.log)}")


def _draw(runs: Sequence[Run], state: State, over: Any) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        while not over.wait(REFRESH_S):
            live.update(progress_table(runs, state), refresh=True)


def progress_table(runs: Sequence[Run], state: State):
    """How many runs are in which state, and the last line of those that run."""
    from rich.table import Table

    table = Table(title=", ".join(f"{n} {s}" for s, n in _counts(state.values())))
    for column in ("run", "state", "last said"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    order = {"running": 0, "FAILED": 1, "done": 2, "waiting": 3, "done before": 4}
    for run in sorted(runs, key=lambda r: order[state[r.name]])[:20]:
        style = {"running": "bold", "FAILED": "red"}.get(state[run.name])
        said = last_line(run.log) if state[run.name] in ("running", "FAILED") else ""
        table.add_row(run.name, state[run.name], said, style=style)
    return table


def _counts(states: Iterable[str]) -> list[tuple[str, int]]:
    states = list(states)
    return [(s, states.count(s)) for s in dict.fromkeys(states)]


def last_line(log: Path, size: int = 2000) -> str:
    """The last words in a log, "" where there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            words = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(words) if line.strip()), "")
