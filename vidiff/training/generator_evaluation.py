"""Scores and shows the moving-average generator during training, and compares it with the controls in the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff.clip import ClipSpec
from vidiff.metrics.controls import FORMER, LEAD, controls
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.resolve import resolve_metrics
from vidiff.metrics.sprites import SIDE
from vidiff.models.base import AdversarialModule
from vidiff.pages.clips import columns_of
from vidiff.training.evaluation import REPORT_SEED, SELECTION_SEED, TIMED, Evaluation
from vidiff.training.machine import seconds_per_clip
from vidiff.training.memory import Memory
from vidiff.training.page import Wall
from vidiff.training.report import print_report
from vidiff.video.sheet import sheet

SHEET_REAL, SHEET_FAKE = 4, 8  # clips
NAMED = "recognizable"
STILL = 0.01  # the least motion that differs from none when a checkpoint is chosen


class GeneratorEvaluation(Evaluation):
    """`Evaluation` of models that make clips from noise."""

    show = staticmethod(print_report)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        names = [LEAD, FORMER, *(["motion"] if pl_module.spec.num_frames > 1 else []), "diversity", "nearest"]
        if self._can_be_named(pl_module.spec):
            named = resolve_metrics(NAMED, frame_stride=self.data.frame_stride)
            for metrics in (self._metrics, self._training_metrics):
                metrics += [m for m in named if m.name not in [known.name for known in metrics]]
            names.append(NAMED)
        size = dict(num_clips=self.options.num_clips, num_frames=pl_module.spec.num_frames)
        self._control_metrics = resolve_metrics(names, frame_stride=self.data.frame_stride, **size)
        # What `vidiff doctor` goes by, beside the metrics that were asked for.
        asked = {m.name for m in self._training_metrics}
        watched = [m for m in resolve_metrics(["flicker", "grid"], **size) if m.name not in asked]
        frames, pixels = pl_module.spec.num_frames, pl_module.spec.resolution
        self._watched = [m for m in watched if m.extractor.min_frames <= frames and m.extractor.min_size <= pixels]
        self._evaluator: Evaluator | None = None
        self._memory: Memory | None = None
        self._real: Tensor | None = None

    def _can_be_named(self, spec: ClipSpec) -> bool:
        """Whether the clips are of the embedded set in the style that `recognizable` knows."""
        return self.data.style == "plain" and spec.channels == 3 and spec.num_frames > 1 and spec.resolution >= SIDE

    def score(self, values: dict[str, float]) -> float:
        """The first metric; another one than `clip_distance` x max(m, 1/m), m the motion as a ratio to real clips.

        The other distances see little of time: without the factor `fvd_random` kept clips that hardly moved (m 0.2)
        before better ones that did. Without `motion` in `metrics_in_training` they decide alone, too.

        Args:
            values: of one evaluation, by logged name, such as `val/fvd_random`.
        """
        if self._training_metrics[0].name == LEAD:
            return super().score(values)
        motion = max(values.get("val/motion", 1.0), STILL)
        return super().score(values) * max(motion, 1 / motion)

    @property
    def selection(self) -> str:
        names = [m.name for m in self._training_metrics]
        by_motion = names[0] != LEAD and "motion" in names
        return f"lowest {names[0]}" + (" x max(motion, 1/motion)" if by_motion else "")

    def measure(self, module: LightningModule) -> dict[str, float]:
        """The metrics of `metrics_in_training`, flicker and grid, and how well D remembers its training clips."""
        if self._evaluator is None:
            self._evaluator = self._make_evaluator([*self._training_metrics, *self._watched], SELECTION_SEED)
            if isinstance(module, AdversarialModule) and self.split == "train" and self.data.videos["val"]:
                self._memory = Memory(self.data, SELECTION_SEED)
        results = self._evaluator.evaluate(self._fakes(module, SELECTION_SEED), self.options.num_clips)
        self.floors = {f"val/{name}": r["floor"] for name, r in results.items() if r["floor"] is not None}
        values = {f"val/{name}": r["value"] for name, r in results.items() if r["value"] is not None}
        return values | ({} if self._memory is None else self._memory.of(module))

    def results(self, module: LightningModule) -> dict[str, Any]:
        """The metrics of `metrics` on latents never used for selection, and the controls."""
        evaluator = self._make_evaluator(self._metrics, REPORT_SEED, self.options.blocks)
        metrics = evaluator.evaluate(self._fakes(module, REPORT_SEED), self.options.num_clips)
        values, protocols = self._controls(module)
        seconds = seconds_per_clip(lambda: module.sample(TIMED, seed=REPORT_SEED), TIMED, self._device)
        return {
            "metrics": metrics,
            "controls": values,
            "controls_protocol": protocols,
            "sampling_s_per_clip": seconds,
        }

    def write_samples(self, module: LightningModule, stem: str) -> dict[str, Path]:
        """Contact sheet, gif and mp4 of fixed latents, a row group of real clips marked."""
        if self._real is None:
            batches = self.data.eval_clips(self.split, SHEET_REAL, SELECTION_SEED, batch_size=SHEET_REAL)
            self._real = torch.cat([clips for _, clips, *_ in batches])
        fakes = module.sample(SHEET_FAKE, seed=SELECTION_SEED)
        tiled = torch.cat(list(fakes), dim=-1)  # clips side by side: (C, T, H, 8*W)
        return self._write_files(stem, sheet([("real", self._real), ("generated", fakes)]), tiled)

    def walls(self, module: LightningModule) -> list[Wall]:
        """Real clips, and as many generated ones."""
        across = columns_of(module.spec.resolution)
        _, real, *_ = next(self.data.eval_clips(self.split, across**2, REPORT_SEED, batch_size=across**2))
        fakes = module.sample(across**2, seed=REPORT_SEED)
        return [Wall("Real", real, across), Wall("Generated", fakes, across)]

    def _fakes(self, module: LightningModule, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the generated clips, with their ids."""
        ids = range(self.options.num_clips)[self._share["rank"] :: self._share["world"]]
        return module.iter_samples(ids, seed, self.options.batch_size)

    def _controls(self, module: LightningModule) -> tuple[dict[str, dict], dict[str, dict]]:
        """The same measures for rubbish that must lose, for the untrained generator and for held-out real clips.

        Returns:
            {control: {metric: value}}, and {metric: its protocol record}, which is one for all controls.
        """
        evaluator = self._make_evaluator(self._control_metrics, REPORT_SEED)
        # Measured exactly like the trained one, BatchNorm's statistics included: with their initial values it would be
        # worse than its weights are.
        with module.generator_ema.replaced_by(module.initial_generator()):
            rows = {"untrained": evaluator.evaluate(self._fakes(module, REPORT_SEED))}
        data, options = self.data, self.options
        # Made from another draw than the reference, else they would profit from knowing it.
        batches = list(data.eval_clips(self.split, options.num_clips, REPORT_SEED + 2000, options.batch_size))
        ids = torch.cat([torch.as_tensor(i) for i, *_ in batches])
        real = torch.cat([clips for _, clips, *_ in batches])
        mine = slice(self._share["rank"], None, self._share["world"])
        for name, clips in controls(real, seed=REPORT_SEED).items():
            rows[name] = evaluator.evaluate([(ids[mine], clips[mine])])
        if self.split == "train" and data.videos["val"]:
            held_out = data.eval_clips("val", options.num_clips, REPORT_SEED, **self._share)
            rows["real_held_out"] = evaluator.evaluate(held_out)
        values = {name: {m: r["value"] for m, r in result.items()} for name, result in rows.items()}
        return values, {m: r["protocol"] for m, r in rows["untrained"].items()}
