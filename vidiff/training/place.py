"""Which folder a run goes to, and which checkpoint it begins from."""

from __future__ import annotations

import os
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.progress import say
from vidiff.training.checkpoints import read_to_continue
from vidiff.training.run import Run, last_checkpoint, new_run_dir, newest_run

RUNS = Path("runs")


def place_run(verb: str, experiment: str, run_dir: str | None, ckpt_path: str | None) -> tuple[Run, str | None]:
    """Decide the run folder and which checkpoint is meant; nothing is created yet.

    Args:
        verb: only `fit` begins a run.
        experiment: name of the folder below `runs/` where no `run_dir` is given.
        run_dir: the folder that was asked for.
        ckpt_path: a checkpoint, or `last`.

    Raises:
        UsageError, RunError: the folder or the checkpoint cannot be used.
    """
    # Lightning numbers the processes that it starts; they learn the folder's name from process 0, see `RunFolder`.
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if ckpt_path == "last":
        folder = Path(run_dir) if run_dir else newest_run(RUNS, experiment)
        ckpt_path = str(last_checkpoint(folder))
        if first:
            say(f"continuing {folder}")
    elif ckpt_path is not None and not Path(ckpt_path).exists():
        raise UsageError(f"--ckpt_path {ckpt_path}: no such file (or use `last`)")
    else:
        folder = Path(run_dir or new_run_dir(RUNS, experiment))
    if ckpt_path is not None and first:
        read_to_continue(Path(ckpt_path))  # fails before anything else is done
    _check_folder(folder)
    resumed = ckpt_path is not None and Path(ckpt_path).resolve().is_relative_to(folder.resolve())
    run = Run(folder, resumed)
    if verb == "fit" and not resumed and first:
        run.check_new()
    return run, ckpt_path


def _check_folder(folder: Path) -> None:
    """Refuse a run folder that cannot be made or written to."""
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise UsageError(f"--run_dir {folder}: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"--run_dir {folder}: {nearest} cannot be written to")
