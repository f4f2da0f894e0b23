"""How a run goes on: commands that work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

from vidiff.pages.curves import directions_of
from vidiff.pages.folder import Recorded


def commands(run: Recorded) -> list[tuple[str, list[str]]]:
    """What a command does, and its words; only those whose files are there."""
    folder, out = run.dir, []
    config = str(folder / "config.yaml")
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    has_config = (folder / "config.yaml").is_file()
    if has_config and last.is_file():
        resume = ["vidiff", "fit", "--config", config, "--run_dir", str(folder), "--ckpt_path", "last"]
        steps = run.setting("trainer", "max_steps")
        if run.metrics and isinstance(steps, int) and 0 < steps <= run.step:
            out.append(("Train twice as long, from where it stopped", [*resume, "--trainer.max_steps", str(2 * steps)]))
        else:
            out.append(("Continue the training", resume))
    shown = best if best.is_file() else last
    if not shown.is_file():
        return out
    names = list(run.directions) or directions_of(list(run.curves))
    if names or run.about.get("translates"):
        which = [w for name in names[:1] for w in _direction(name)]
        words = ["vidiff", "translate", "--ckpt", str(shown), *which, "--input", "VIDEO.mp4", "--output", "OUT.mp4"]
        out.append(("Translate a video, or a folder of them", words))
    else:
        samples = str(folder / "samples-seed0")
        words = ["vidiff", "sample", "--ckpt", str(shown), "--num_clips", "64", "--output", samples]
        out.append(("Make clips", words))
        compare = ["vidiff", "evaluate", "--real", _root(run), "--fake", samples]
        size = ["--num_frames", str(run.data["num_frames"])] if run.data.get("num_frames") else []
        out.append(("Compare them with a folder of real videos", [*compare, *size]))
    if has_config:
        test = ["vidiff", "test", "--config", config, "--run_dir", str(folder), "--ckpt_path", str(shown)]
        out.append(("Measure the checkpoint on the test split", test))
    return out


def as_line(words: list[str]) -> str:
    """Words as a shell takes them."""
    return shlex.join(words)


def _direction(name: str) -> list[str]:
    return ["--target", name.removeprefix("to_")] if name.startswith("to_") else ["--direction", name]


def _root(run: Recorded) -> str:
    root = run.setting("data", "init_args", "root")
    return str(Path(root)) if isinstance(root, str) else "FOLDER_OF_VIDEOS"
