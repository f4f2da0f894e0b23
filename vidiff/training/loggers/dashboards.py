"""Weights & Biases and TensorBoard behind one switch; both optional, neither ever asks for an account."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from vidiff.errors import UsageError
from vidiff.training.run import Run


class WandbClips(WandbLogger):
    """W&B with generator steps as x-axis and samples as videos; offline when there is no key.

    The run's id is a function of its folder, so a resumed run continues where it stood. Videos are encoded before
    they are handed over, because encoding inside wandb needs a package that pins half the world.

    Args:
        run: the run folder; wandb's own files go into `<run>/wandb`.
        config: the nested configuration, logged once.
    """

    def __init__(self, run: Run, config: dict[str, Any]):
        if rank_zero_only.rank == 0:  # only there the folder has its name already
            run.dir.mkdir(parents=True, exist_ok=True)
        online = os.environ.get("WANDB_MODE", "") == "online" or bool(os.environ.get("WANDB_API_KEY"))
        super().__init__(
            name=f"{run.dir.parent.name}/{run.dir.name}",
            id=hashlib.sha256(str(run.dir.resolve()).encode()).hexdigest()[:12],
            save_dir=run.dir,
            project=os.environ.get("WANDB_PROJECT", "vidiff"),
            offline=not online or os.environ.get("WANDB_MODE") == "offline",
            resume="allow",
            config=config,
        )

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        """Samples of one evaluation: `files` maps mp4 and png to paths."""
        import wandb

        media = {"samples/clips": wandb.Video(str(files["mp4"])), "samples/sheet": wandb.Image(str(files["png"]))}
        self.experiment.log({**media, "trainer/global_step": step})


class TensorBoardClips(TensorBoardLogger):
    """TensorBoard with samples as animated images (its own `add_video` writes nothing without a further package)."""

    def __init__(self, run: Run):
        super().__init__(save_dir=run.dir, name="", version="tensorboard")

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        """Samples of one evaluation: `files` maps gif and png to paths."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, path in (("samples/clips", files["gif"]), ("samples/sheet", files["png"])):
            with Image.open(path) as picture:
                width, height = picture.size
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
            summary = Summary(value=[Summary.Value(tag=tag, image=image)])
            self.experiment._get_file_writer().add_summary(summary, step)


def dashboards(kind: str, run: Run, config: dict[str, Any]) -> list:
    """The loggers beside `metrics.csv`: none for `csv`, one for `wandb` or `tensorboard`.

    Raises:
        UsageError: the package is not installed.
    """
    if kind == "csv":
        return []
    if importlib.util.find_spec(kind) is None:
        raise UsageError(f"--logger {kind} needs the package {kind}: pip install {kind} (metrics.csv works without)")
    return [WandbClips(run, config) if kind == "wandb" else TensorBoardClips(run)]
