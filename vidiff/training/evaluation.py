"""When a run is measured, and where the values go: what evaluations of generators and of translations share."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vidiff import __version__
from vidiff.errors import UsageError, at_least
from vidiff.files import write_json
from vidiff.inference.checkpoint import load_like
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.gather import gather_processes
from vidiff.metrics.protocol import mark_leaks
from vidiff.metrics.resolve import auto_note, resolve_metrics
from vidiff.nn.blocks import count_parameters
from vidiff.paths import cache_dir
from vidiff.pretrained.frozen import trained_against
from vidiff.training import machine
from vidiff.training.checkpoints import Checkpoints
from vidiff.training.dashboards import Dashboard
from vidiff.training.page import Wall, trying, write_walls
from vidiff.training.progress import measuring
from vidiff.training.run import Run, config_hash
from vidiff.training.training_log import Spent
from vidiff.video.provenance import AI_GENERATED
from vidiff.video.write import write_gif, write_mp4, write_png

# Selection and report never share latents, else the best checkpoint's luck would be reported.
SELECTION_SEED, REPORT_SEED = 1, 2
TIMED = 16  # clips whose making is timed


@dataclass
class EvaluationOptions:
    """How a run is measured.

    Args:
        every_n_steps: generator steps between two evaluations.
        num_clips: clips on each side.
        metrics: metrics of `report.json`: "auto" or names, see `vidiff.metrics.parse_name`.
        metrics_in_training: metrics at every evaluation; the first decides which checkpoint is the best, see
            `Evaluation.score`. Those of more frames than a clip has are left out.
        batch_size: clips generated at once.
        reference: split of the real clips.
        blocks: of the jackknife that gives the values of `report.json` a standard error; 0: none, it takes time.

    Raises:
        UsageError: a number that is too small, or no split.
    """

    every_n_steps: int = 500
    num_clips: int = 256
    metrics: str | list[str] = "auto"
    metrics_in_training: list[str] = field(
        default_factory=lambda: ["clip_distance", "fvd_random", "motion", "diversity"]
    )
    batch_size: int = 32
    reference: str = "train"
    blocks: int = 0

    def __post_init__(self):
        for name, least in (("every_n_steps", 1), ("num_clips", 2), ("batch_size", 1), ("blocks", 0)):
            at_least(least, **{f"evaluation.{name}": getattr(self, name)})
        if self.reference not in ("train", "val", "test"):
            raise UsageError(f"evaluation.reference must be train, val or test, got {self.reference!r}")


class Evaluation(Callback, ABC):
    """Evaluates with EMA weights; leaves training's random numbers, modes and weights as they were.

    A subclass defines what is measured and shown: the abstract methods, and `show`.

    Args:
        run: the run folder.
        options: see `EvaluationOptions`.
        checkpoints: where the best state goes.
        spent: the run's CPU seconds and clips, for the report.
    """

    show: Callable[[dict[str, Any], Path, dict[str, Path]], None]
    """Prints a report that was written to a path, with samples in files."""

    def __init__(self, run: Run, options: EvaluationOptions, checkpoints: Checkpoints, spent: Spent):
        self.run, self.options, self.checkpoints, self.spent = run, options, checkpoints, spent
        self.split = options.reference
        self._evaluated = -1
        self.floors: dict[str, float] = {}

    @abstractmethod
    def measure(self, module: LightningModule) -> dict[str, float]:
        """Values of the present state by the name they are logged under, such as `val/fvd_random`.

        `self.floors` gets what real clips have in their place, where that is known.
        """

    def score(self, values: dict[str, float]) -> float:
        """What `best.ckpt` minimizes, of the values that `measure` returns: the first metric."""
        return values.get(f"val/{self._training_metrics[0].name}", math.inf)

    @property
    @abstractmethod
    def selection(self) -> str:
        """`score` in words, for reports."""

    @abstractmethod
    def results(self, module: LightningModule) -> dict[str, Any]:
        """What a report holds besides `_head`: measured on clips that were never used for selection."""

    @abstractmethod
    def write_samples(self, module: LightningModule, stem: str) -> dict[str, Path]:
        """Write a contact sheet and a clip to `samples/`; kind of file -> path."""

    @abstractmethod
    def walls(self, module: LightningModule) -> list[Wall]:
        """Clips for the page of a run, of the report's seed, that nobody has chosen."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        options, spec = self.options, pl_module.spec
        self.data, self._device = trainer.datamodule, trainer.strategy.root_device
        self._share = dict(rank=trainer.global_rank, world=trainer.world_size)
        size = dict(num_clips=options.num_clips, num_frames=spec.num_frames, frame_stride=self.data.frame_stride)
        self._metrics = resolve_metrics(options.metrics, **size)  # what is missing is reported before training
        in_training = resolve_metrics(options.metrics_in_training, **size)
        self._training_metrics = [m for m in in_training if m.extractor.min_frames <= spec.num_frames]
        for metric in (*self._metrics, *self._training_metrics):
            frames, pixels = metric.extractor.min_frames, metric.extractor.min_size
            if spec.num_frames < frames or spec.resolution < pixels:
                raise UsageError(
                    f"evaluation: {metric.name} needs clips of at least {frames} frames and {pixels} pixels, these "
                    f"have {spec.num_frames} and {spec.resolution}: set data.num_frames and data.resolution, or leave "
                    "it out of evaluation.metrics and evaluation.metrics_in_training"
                )
        if not self._training_metrics or self._training_metrics[0].spec.score not in ("frechet", "kernel", "blocks"):
            raise UsageError(
                "evaluation.metrics_in_training: the first chooses best.ckpt and must be a distance between "
                f"distributions, such as clip_distance; got {', '.join(options.metrics_in_training) or 'none'}"
            )
        if trainer.is_global_zero and options.metrics == "auto" and trainer.progress_bar_callback:
            trainer.print(auto_note(self._metrics))
        if stage in ("validate", "test"):
            self.split = {"validate": "val", "test": "test"}[stage]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated = trainer.global_step
        if trainer.global_step == 0:
            self.evaluate(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        step = trainer.global_step
        if step != self._evaluated and (step % self.options.every_n_steps == 0 or step == trainer.max_steps):
            self._evaluate_and_offer(trainer, pl_module)
            for hook in ("start", "epoch_start", "epoch_end", "end"):  # what Lightning's callbacks wait for
                for callback in trainer.callbacks:
                    if callback is not self:
                        getattr(callback, f"on_validation_{hook}")(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self._evaluated:  # stopped by a budget or by hand
            self._evaluate_and_offer(trainer, pl_module)
        best = self.run.checkpoints / "best.ckpt"
        if best.exists():
            self.report(trainer, load_like(pl_module, best), best.name, read_checkpoint(best)["global_step"])
        else:
            self.report(trainer, pl_module, "last.ckpt", trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A resumed run that has nothing left to train has no `on_train_end`: its report and checkpoint come here.
        late = self.run.resumed and self.run.reported_step() != trainer.global_step
        unsaved = self.run.resumed and not (self.run.checkpoints / "last.ckpt").is_file()
        late, unsaved = trainer.strategy.broadcast((late, unsaved))
        if late:
            pl_module.to(trainer.strategy.root_device)  # the trainer has put it away
            self.on_train_start(trainer, pl_module)
            self.on_train_end(trainer, pl_module)
        if unsaved:
            self.checkpoints.save(trainer, "last.ckpt")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.on_test_end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = trainer.ckpt_path  # Lightning restores the weights, not the step
        self.report(trainer, pl_module, str(path), read_checkpoint(path)["global_step"] if path else 0)

    def _evaluate_and_offer(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated = trainer.global_step
        values = self.evaluate(trainer, pl_module)
        if trainer.global_step % self.options.every_n_steps == 0:  # an interruption's own evaluation changes nothing
            pl_module.after_evaluation(values)
        self.checkpoints.offer(trainer, self.score(values))

    def _real_clips(self, seed: int, split: str, **which) -> Callable[[], Iterator]:
        """A callable that starts a fresh pass over this process's share of seeded real clips (of one domain)."""
        size = self.options.batch_size
        return lambda: self.data.eval_clips(split, self.options.num_clips, seed, size, **self._share, **which)

    def _make_evaluator(self, metrics: list, seed: int, blocks: int = 0, **which) -> Evaluator:
        """An evaluator against seeded real clips (of one domain: `domain=NAME`), its protocol recorded."""
        data, about = self.data, self.data.describe()
        unseen = "val" if self.split == "train" else self.split
        record = json.dumps([data.fingerprint, about, self.split, self.options.num_clips, seed, which], sort_keys=True)
        fields = {
            "frame_stride": about["frame_stride"],
            "fps": about["fps"],
            "split": self.split,
            "subset": "seeded, spread over videos",
            "offset": "seeded uniform",
            "decode": about["decode"],
            "seed": seed,
            "dataset": ":".join([data.fingerprint, *map(str, which.values())]),
        }
        return Evaluator(
            metrics,
            self._real_clips(seed, self.split, **which),
            # The floor of a generator that has learnt exactly these videos; unseen videos are a row of the controls.
            held_out=self._real_clips(seed + 1000, self.split, **which),
            floor_rule=f"another seeded draw of clips from the {self.split} videos",
            train=None if self.split == "train" else self._real_clips(seed, "train", **which),
            unseen=self._real_clips(seed, unseen, **which) if data.videos[unseen] else None,
            fields=fields,
            device=self._device,
            cache=cache_dir() / "features",
            fingerprint=hashlib.sha256(record.encode()).hexdigest(),
            gather=gather_processes,
            blocks=blocks,
            real_videos=data.eval_videos(self.split, self.options.num_clips, seed, **which) if blocks else None,
        )

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """One evaluation of the EMA generators: `measure` to callbacks and loggers, samples to `samples/`."""
        step = trainer.global_step
        with measuring(trainer, f"step {step}"):
            values = self.measure(pl_module)
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        _check_monitors(trainer)
        if trainer.is_global_zero:
            if trainer.progress_bar_callback:
                trainer.print(f"step {step}: {self.headline(values)}")
            files = self.write_samples(pl_module, f"step-{step:07d}")
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)
                if isinstance(logger, Dashboard):
                    logger.log_floors(self.floors, step)
                    logger.log_clips(files, step)
        trainer.strategy.barrier()
        return values

    def headline(self, values: dict[str, float]) -> str:
        """The metrics of an evaluation in a line, beside what real clips have."""
        parts = []
        for name in (f"val/{m.name}" for m in self._training_metrics):
            if name in values:
                floor = f" (floor {self.floors[name]:.3g})" if name in self.floors else ""
                parts.append(f"{name[4:]} {values[name]:.3g}{floor}")
        return ", ".join(parts)

    def report(self, trainer: Trainer, module: LightningModule, checkpoint: str, step: int) -> dict[str, Any]:
        """Measure the checkpoint of `step` on clips never used for selection; one process writes and prints it."""
        with measuring(trainer, f"{Path(checkpoint).name} of step {step} for the report"):
            results = self.results(module)
        frozen = trained_against(module)
        mark_leaks(results["metrics"], frozen)
        report = self._head(trainer, module, checkpoint, step) | {"trained_against": frozen} | results
        if trainer.is_global_zero:
            name = "report.json" if trainer.state.fn == "fit" else f"report-{trainer.state.fn.value}.json"
            write_json(self.run.dir / name, report)
            if trainer.state.fn == "fit":
                with trying("the walls of clips for the page"):
                    write_walls(self.run.dir / "samples", self.walls(module), step)
            self.show(report, self.run.dir / name, self.write_samples(module, "final"))
        trainer.strategy.barrier()
        return report

    def _head(self, trainer: Trainer, module: LightningModule, checkpoint: str, step: int) -> dict[str, Any]:
        """What a report holds about the run whatever was measured."""
        return {
            "vidiff": __version__,
            "config_hash": config_hash(self.run.config),
            "model": type(module).__name__,
            "checkpoint": checkpoint,
            "checkpoint_step": step,
            "selection": self.selection,
            "steps": trainer.global_step if trainer.state.fn == "fit" else step,
            "batches_seen": trainer.lightning_module.batches_seen,
            "clips_seen": self.spent.clips,
            "cpu_seconds": self.spent.cpu_s,
            "gpu_seconds": self.spent.gpu_s,
            "parameters": {p: count_parameters(n) for p, n in module.players.items()},
            "data": self.data.describe(),
        } | machine.record(self._device)

    def _write_files(self, stem: str, picture: np.ndarray, clip: Tensor) -> dict[str, Path]:
        """A contact sheet, and a clip (C, T, H, W) as gif and mp4, under `samples/`."""
        folder = self.run.dir / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        files = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "gif", "mp4")}
        write_png(files["png"], picture, AI_GENERATED)
        write_gif(files["gif"], clip, comment=AI_GENERATED)
        write_mp4(files["mp4"], clip, comment=AI_GENERATED)
        return files


def _check_monitors(trainer: Trainer) -> None:
    """Refuse a callback that waits for a metric that does not exist, at the first evaluation."""
    for callback in trainer.callbacks:
        name = getattr(callback, "monitor", None)
        if isinstance(name, str) and name.split("/")[0] in ("val", "test") and name not in trainer.callback_metrics:
            known = ", ".join(k for k in sorted(trainer.callback_metrics) if k.split("/")[0] in ("val", "test"))
            kind = type(callback).__name__
            raise UsageError(f"trainer.callbacks: {kind}.monitor {name!r} is not evaluated; there are: {known}")
