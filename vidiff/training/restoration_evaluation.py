"""Scores and shows a restoration during training, and compares its stages with classical methods in the report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_like
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.paired import grid_peak, l1
from vidiff.models.restorer import CLEAN, DEGRADED, Restorer
from vidiff.pages.clips import columns_of
from vidiff.training.evaluation import REPORT_SEED, SELECTION_SEED, TIMED, Evaluation
from vidiff.training.machine import seconds_per_clip
from vidiff.training.page import Wall
from vidiff.training.report import print_restoration_report
from vidiff.training.restoration_rows import PROTOCOL, classical, means, row_of, strongest
from vidiff.training.translation_rows import reencode
from vidiff.video.sheet import sheet

CURVE_CLIPS, SHOWN = 16, 4
CURVES = ("psnr", "ssim", "flicker_ratio", "sharpness", "temporal_error")
FIRST_STAGE = "pixel.ckpt"
UNHARMED_DB = 99.0  # equal clips have 100: an autoencoder has nothing to repair
Damaged = tuple[Tensor, Tensor, Tensor]  # ids (B,), damaged and true clips, uint8 (B, C, T, H, W)


class RestorationEvaluation(Evaluation):
    """`Evaluation` of a `Restorer`: damaged held-out clips, restored, against what they were.

    The state at the end of the first stage is kept as `pixel.ckpt`, and reported beside the best. The distances between
    distributions are to the very clips that were damaged: of `val` while training, of `test` in the report.

    Args: as `Evaluation`; `reference` is not used.
    """

    show = staticmethod(print_restoration_report)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if hasattr(trainer.datamodule, "domains"):
            raise UsageError(
                f"{type(pl_module).__name__} makes its own damage: use ClipDataModule for --data, not "
                f"{type(trainer.datamodule).__name__}"
            )
        self._asked = self.split if stage in ("validate", "test") else None
        self._evaluator: Evaluator | None = None
        self._apart = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        stages = pl_module.strategies.stages
        first = stages[0]["steps"] if len(stages) > 1 else None
        if trainer.global_step == first and trainer.global_step != self._evaluated:
            self.checkpoints.save(trainer, FIRST_STAGE)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @property
    def selection(self) -> str:
        lead = self._training_metrics[0].name
        return f"lowest {lead} of restored held-out clips to what they were, in the last stage"

    def score(self, values: dict[str, float]) -> float:
        """The first metric; infinite before the last stage, so that its state is the best of a whole run."""
        return super().score(values) if values.get("val/last_stage", 1.0) else math.inf

    def _held_out(self, wanted: str) -> str:
        """The split that clips come from: the one asked for, else `wanted` or the nearest that holds any."""
        for split in (self._asked or wanted, "test", "val", "train"):
            if self.data.videos[split]:
                return split
        raise UsageError(f"{self.data.root}: no split holds a video")

    def _clips(self, module: Restorer, split: str, count: int, seed: int) -> Iterator[Damaged]:
        """This process's share of a split's clips, damaged as no training clip is."""
        for ids, clips, _ in self.data.eval_clips(split, count, seed, self.options.batch_size, **self._share):
            yield ids, module.degrade(clips, ids.tolist(), "evaluation", seed), clips

    def _restored(self, module: Restorer, split: str, count: int, seed: int, tables: dict[str, list]) -> Iterator:
        """(ids, restored clips); on the way rows of the damaged and of the restored go to `tables`."""
        for ids, damaged, truth in self._clips(module, split, count, seed):
            restored = module.translate(damaged, DEGRADED, CLEAN)
            for name, clips in (("degraded", damaged), ("restored", restored)):
                tables.setdefault(name, []).append((ids, row_of(clips, truth, module.spec.aspect > 1)))
            tables.setdefault("grid", []).append(torch.stack([grid_peak(restored), grid_peak(truth)], 1))
            tables.setdefault("apart", []).append(torch.stack([l1(restored, damaged), l1(truth, damaged)], 1))
            yield ids, restored

    def measure(self, module: Restorer) -> dict[str, float]:
        """The metrics on `val`, and curves of a few clips of `test`, never used for selection."""
        self.split = self._held_out("val")
        if self._evaluator is None:
            self._evaluator = self._make_evaluator(self._training_metrics, SELECTION_SEED)
        count = self.options.num_clips
        results = self._evaluator.evaluate(self._restored(module, self.split, count, SELECTION_SEED, {}), count)
        self.floors = {f"val/{m}": r["floor"] for m, r in results.items() if r["floor"] is not None}
        values = {f"val/{m}": r["value"] for m, r in results.items() if r["value"] is not None}
        values |= {f"{name}_restore": value for name, value in values.items()}
        tables: dict[str, list] = {}
        for _ in self._restored(module, self._held_out("test"), min(count, CURVE_CLIPS), SELECTION_SEED, tables):
            pass  # only the tables are wanted
        restored, damaged = means(tables["restored"]), means(tables["degraded"])
        values |= {f"test/{name}_restore": restored[name] for name in CURVES if name in restored}
        if damaged["psnr"] < UNHARMED_DB:
            values |= {f"test/{n}_gain_restore": restored[n] - damaged[n] for n in ("psnr", "ssim")}
        values |= {f"test/{name}_restore": value for name, value in _ratios(tables).items()}
        stages, trainer = module.strategies.stages, module._trainer
        last = not stages or trainer is None or module.strategies.stage(trainer.global_step - 1) is stages[-1]
        return values | {"val/last_stage": float(last)}

    def headline(self, values: dict[str, float]) -> str:
        """With the PSNR and what was gained over the damaged clips."""
        psnr, gain = values["test/psnr_restore"], values.get("test/psnr_gain_restore")
        over = "" if gain is None else f" ({gain:+.1f} over the damaged)"
        return f"{super().headline(values)}, PSNR {psnr:.1f} dB{over}, sharpness {values['test/sharpness_restore']:.2f}"

    def results(self, module: Restorer) -> dict[str, Any]:
        """Both stages and the classical methods on clips never used for selection."""
        self.split, count = self._held_out("test"), self.options.num_clips
        tables: dict[str, list] = {}
        evaluator = self._make_evaluator(self._metrics, REPORT_SEED, self.options.blocks)
        found = evaluator.evaluate(self._restored(module, self.split, count, REPORT_SEED, tables), count)
        controls = {
            "identity": evaluator.evaluate((i, damaged) for i, damaged, _ in self._clips_again(module)),
            "oracle": evaluator.evaluate((i, reencode(truth)) for i, _, truth in self._clips_again(module)),
        }
        for ids, damaged, truth in self._clips_again(module):
            for name, clips in classical(damaged, truth):
                tables.setdefault(name, []).append((ids, row_of(clips, truth, module.spec.aspect > 1)))
            tables.setdefault("oracle", []).append((ids, row_of(reencode(truth), truth, module.spec.aspect > 1)))
        if (path := self.run.checkpoints / FIRST_STAGE).is_file():
            first, own = load_like(module, path), {}
            for _ in self._restored(first, self.split, count, REPORT_SEED, own):
                pass
            tables["pixel_stage"] = own["restored"]
        some, _, _ = self._some(module, min(count, TIMED), REPORT_SEED)
        seconds = seconds_per_clip(lambda: module.translate(some, DEGRADED, CLEAN), len(some), self._device)
        ratios = _ratios(tables)
        methods = strongest({n: means(t) for n, t in tables.items() if n not in ("grid", "apart")})
        restored, damaged = methods["restored"], methods["degraded"]
        direction = restored | ratios | {"sources": ["degraded"], "target": "clean"}
        direction |= {f"{n}_gain": restored[n] - damaged[n] for n in ("psnr", "ssim")}
        direction |= {f"identity_{n}": damaged[n] for n in ("psnr", "ssim")}
        direction |= {f"oracle_{n}": methods["oracle"][n] for n in ("psnr", "ssim")}
        direction["controls"] = {c: {m: r["value"] for m, r in result.items()} for c, result in controls.items()}
        return {
            "protocol": {"sources": self.split, **PROTOCOL, "num_clips": count, "seed": REPORT_SEED},
            "metrics": {f"{name}_restore": result for name, result in found.items()},
            "directions": {"restore": direction},
            "methods": methods,
            "sampling_s_per_clip": seconds,
        }

    def _clips_again(self, module: Restorer) -> Iterator[Damaged]:
        return self._clips(module, self.split, self.options.num_clips, REPORT_SEED)

    def _some(self, module: Restorer, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """A few damaged, restored and true clips, the same on every process."""
        ids, truth, _ = next(self.data.eval_clips(self._held_out("test"), count, seed, count))
        damaged = module.degrade(truth, ids.tolist(), "evaluation", seed)
        return damaged, module.translate(damaged, DEGRADED, CLEAN), truth

    def write_samples(self, module: Restorer, stem: str) -> dict[str, Path]:
        """A sheet with damaged, restored and true clips."""
        clips = self._some(module, SHOWN, SELECTION_SEED)
        column = torch.cat(clips, dim=-2)  # each above the next: (N, C, T, 3H, W)
        tiled = torch.cat(list(column), dim=-1)  # clips side by side: (C, T, 3H, N*W)
        return self._write_files(stem, sheet(list(zip(("damaged", "restored", "as it was"), clips))), tiled)

    def walls(self, module: Restorer) -> list[Wall]:
        """Rows of a damaged clip, its restoration and what it was."""
        rows = zip(*self._some(module, columns_of(module.spec.resolution), REPORT_SEED))
        return [Wall("Restored", [c for row in rows for c in row], 3, ("damaged", "restored", "as it was"))]


def _ratios(tables: dict[str, list]) -> dict[str, float]:
    """The grid of restored clips over that of true ones, and how far they went from the damaged ones."""
    grid, apart = (torch.cat(tables[name]).double().mean(0) for name in ("grid", "apart"))
    return {
        "grid_ratio": float(grid[0] / grid[1].clamp_min(1e-6)),
        "change": float(apart[0] / apart[1].clamp_min(1e-6)),
    }
