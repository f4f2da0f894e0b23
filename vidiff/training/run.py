"""The run folder: where everything of a run goes, named once, never overwritten."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from vidiff.errors import UsageError
from vidiff.files import TEMPORARY, sweep
from vidiff.paths import cache_dir
from vidiff.progress import say

# What a run writes before its first checkpoint.
EARLY = ("config.yaml", "metrics.csv", "timing.csv", "bad_files.csv", "stopped.json", "samples", "checkpoints")
EARLY += ("run.json", "report.html", "wandb", "tensorboard")
ABANDONED_S = 3600.0  # an older temporary file in a cache that all runs share is abandoned


def config_hash(text: str) -> str:
    """Names a resolved configuration: first 16 hex digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Run:
    """A run folder and whether it is continued.

    Args:
        dir: the folder; `config.yaml`, `metrics.csv`, `timing.csv`, `run.json`, `checkpoints/`, `samples/`,
            `report.json`, `report.html`.
        resumed: True when training continues in a folder that already holds a run.
        config: the fully resolved configuration as YAML text.
        restoring: the checkpoint whose states are being restored just now.
    """

    dir: Path
    resumed: bool = False
    config: str = ""
    restoring: str = ""

    @property
    def checkpoints(self) -> Path:
        """The folder of `last.ckpt` and `best.ckpt`."""
        return self.dir / "checkpoints"

    def reported_step(self) -> int | None:
        """The generator step that `report.json` is of; None when there is none."""
        try:
            return json.loads((self.dir / "report.json").read_text(encoding="utf-8"))["steps"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def check_new(self) -> None:
        """Whether a new training may begin in the folder: it is empty, or holds a run that never came to a checkpoint.

        Raises:
            UsageError: it holds a run that can be continued, or other files.
        """
        if any((self.checkpoints / name).is_file() for name in ("last.ckpt", "best.ckpt")):
            way = how_to_continue(self.dir)
            raise UsageError(f"--run_dir {self.dir} already holds a run: choose another, or add {way} to continue")
        names = sorted(p.name for p in self.dir.iterdir()) if self.dir.is_dir() else []
        known = (*EARLY, "unfinished-")
        if others := [n for n in names if not n.startswith(known) and not TEMPORARY.fullmatch(n)]:
            raise UsageError(
                f"--run_dir {self.dir} already holds other files ({', '.join(others[:3])}): choose another"
            )

    def clear(self) -> None:
        """Put what a run left that was killed before its first checkpoint into a folder of its own."""
        left = [self.dir / name for name in EARLY if (self.dir / name).exists()]
        if left:
            aside = self.dir / f"unfinished-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
            aside.mkdir()
            for path in left:
                path.rename(aside / path.name)
            say(f"{self.dir} begins anew: it held no checkpoint; its left-overs are in {aside}")

    def sweep(self) -> None:
        """Remove the temporary files of killed runs."""
        for folder in (self.dir, self.checkpoints, self.dir / "samples"):
            sweep(folder)
        for folder in (cache_dir(), *cache_dir().glob("*/")):
            sweep(folder, ABANDONED_S)


def how_to_continue(folder: Path) -> str:
    """The option that continues the run of a folder; empty when it has no checkpoint."""
    if (folder / "checkpoints" / "last.ckpt").is_file():
        return "--ckpt_path last"
    best = folder / "checkpoints" / "best.ckpt"
    return f"--ckpt_path {best}" if best.is_file() else ""


def last_checkpoint(folder: Path) -> Path:
    """The `last.ckpt` of a run.

    Raises:
        UsageError: there is none; the message names the command that works.
    """
    path = folder / "checkpoints" / "last.ckpt"
    if path.is_file():
        return path
    if not folder.is_dir():
        raise UsageError(f"--ckpt_path last: there is no run in {folder}")
    way = how_to_continue(folder)
    way = f"{way} continues from it" if way else "leave --ckpt_path out, and the run begins anew in the same folder"
    raise UsageError(f"--ckpt_path last: {path} does not exist; {way}")


def new_run_dir(root: Path, experiment: str) -> Path:
    """`<root>/<experiment>/<time>-<id>`: sorted by time, unique across processes that start together."""
    return root / experiment / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def newest_run(root: Path, experiment: str) -> Path:
    """The newest run of an experiment that has a `last.ckpt`.

    Raises:
        UsageError: there is none.
    """
    runs = [p.parent.parent for p in (root / experiment).glob("*/checkpoints/last.ckpt")]
    if not runs:
        raise UsageError(
            f"--ckpt_path last: no run of {experiment!r} with a checkpoint under {root / experiment}; without "
            "--ckpt_path a new one begins"
        )
    return max(runs, key=lambda p: (p / "checkpoints" / "last.ckpt").stat().st_mtime)
