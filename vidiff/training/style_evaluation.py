"""Scores and shows a style transfer during training and in its report, on held-out clips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.flow import flow_method
from vidiff.metrics.classical import has_opencv
from vidiff.models.stylizer import StyleTranslator
from vidiff.pages.clips import columns_of
from vidiff.training.evaluation import REPORT_SEED, SELECTION_SEED, TIMED, Evaluation
from vidiff.training.machine import seconds_per_clip
from vidiff.training.page import Wall
from vidiff.training.report import print_style_report
from vidiff.training.style_rows import PROTOCOL, means, row_of
from vidiff.video.sheet import sheet

SHOWN = 4  # clips on a sheet


class StyleEvaluation(Evaluation):
    """`Evaluation` of a `StyleTranslator`: clips of `val`, in the report `test`, against their sources and the style.

    There are no clips of a target to keep a distance to, so that of the options `metrics`, `metrics_in_training`,
    `reference` and `blocks` are not used.

    Args: as `Evaluation`.
    """

    show = staticmethod(print_style_report)
    selection = "lowest objective of held-out clips"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.data, self._device = trainer.datamodule, trainer.strategy.root_device
        self._share = dict(rank=trainer.global_rank, world=trainer.world_size)
        if hasattr(trainer.datamodule, "domains"):
            raise UsageError(
                f"{type(pl_module).__name__} has clips of one kind and one style: use ClipDataModule for --data, not "
                f"{type(trainer.datamodule).__name__}"
            )
        self._asked = {"validate": "val", "test": "test"}.get(stage)
        self._flow = flow_method("dis") if has_opencv() else None

    def _held_out(self, wanted: str) -> str:
        """The split that clips come from: the one asked for, else `wanted` or the nearest that holds any."""
        for split in (self._asked or wanted, "test", "val", "train"):
            if self.data.videos[split]:
                return split
        raise UsageError(f"{self.data.root}: no split holds a video")

    def _measured(self, module: StyleTranslator, split: str, seed: int) -> dict[str, float]:
        table = []
        options = self.options
        for ids, clips, _ in self.data.eval_clips(split, options.num_clips, seed, options.batch_size, **self._share):
            table.append((ids, row_of(module, clips, module.translate(clips, 0, 1), self._flow)))
        return means(table)

    def measure(self, module: StyleTranslator) -> dict[str, float]:
        """The measures of clips of `val`."""
        found = self._measured(module, self._held_out("val"), SELECTION_SEED)
        return {f"val/{name}": value for name, value in found.items()}

    def score(self, values: dict[str, float]) -> float:
        """What the training minimizes, of held-out clips."""
        return values.get("val/objective", math.inf)

    def headline(self, values: dict[str, float]) -> str:
        """The measures of an evaluation in a line."""
        return ", ".join(f"{name[4:].replace('_', ' ')} {value:.3g}" for name, value in values.items())

    def results(self, module: StyleTranslator) -> dict[str, Any]:
        """The measures of clips that were never used for selection."""
        split = self._held_out("test")
        found = self._measured(module, split, REPORT_SEED)
        some, _ = self._some(module, min(self.options.num_clips, TIMED), REPORT_SEED)
        seconds = seconds_per_clip(lambda: module.translate(some, 0, 1), len(some), self._device)
        _, source, target = module.way
        return {
            "protocol": {"sources": split, **PROTOCOL, "num_clips": self.options.num_clips, "seed": REPORT_SEED},
            "style": {"name": module.style.name, "sha256": bytes(module.style_sha256.tolist()).hex()},
            "metrics": {},
            "directions": {module.way[0]: found | {"sources": [source], "target": target}},
            "sampling_s_per_clip": seconds,
        }

    def _some(self, module: StyleTranslator, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """A few clips and what becomes of them, the same on every process."""
        _, clips, _ = next(self.data.eval_clips(self._held_out("test"), count, seed, count))
        return clips, module.translate(clips, 0, 1)

    def write_samples(self, module: StyleTranslator, stem: str) -> dict[str, Path]:
        """A sheet with clips, and each in the style."""
        clips = self._some(module, SHOWN, SELECTION_SEED)
        column = torch.cat(clips, dim=-2)  # each above its own: (N, C, T, 2H, W)
        tiled = torch.cat(list(column), dim=-1)  # clips side by side: (C, T, 2H, N*W)
        return self._write_files(stem, sheet(list(zip(("source", "stylized"), clips))), tiled)

    def walls(self, module: StyleTranslator) -> list[Wall]:
        """Rows of a clip and of the same in the style."""
        rows = zip(*self._some(module, columns_of(module.spec.resolution), REPORT_SEED))
        return [Wall("Stylized", [clip for row in rows for clip in row], 2, ("source", "stylized"))]
