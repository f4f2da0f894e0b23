"""Scores and shows the moving-average generator during training, keeps the best state, and writes the final report."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vidiff import __version__
from vidiff.errors import UsageError
from vidiff.files import write_json
from vidiff.inference.checkpoint import load_like
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.metrics.controls import controls
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.gather import gather_processes
from vidiff.metrics.resolve import auto_note, resolve_metrics
from vidiff.nn.blocks import count_parameters
from vidiff.paths import cache_dir
from vidiff.training.checkpoints import Checkpoints
from vidiff.training.report import print_report
from vidiff.training.run import Run, config_hash
from vidiff.training.training_log import Spent
from vidiff.video.write import sheet, write_gif, write_mp4, write_png

# Selection and report never share latents, else the best checkpoint's luck would be reported.
SELECTION_SEED, REPORT_SEED = 1, 2
SHEET_REAL, SHEET_FAKE = 4, 8
STILL = 0.01  # the least motion that choosing a checkpoint tells from none


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

    Raises:
        UsageError: a number that is too small, or no split.
    """

    every_n_steps: int = 500
    num_clips: int = 256
    metrics: str | list[str] = "auto"
    metrics_in_training: list[str] = field(default_factory=lambda: ["fvd_random", "motion", "diversity"])
    batch_size: int = 32
    reference: str = "train"

    def __post_init__(self):
        for name, least in (("every_n_steps", 1), ("num_clips", 2), ("batch_size", 1)):
            if (value := getattr(self, name)) < least:
                raise UsageError(f"evaluation.{name} must be at least {least}, got {value}")
        if self.reference not in ("train", "val", "test"):
            raise UsageError(f"evaluation.reference must be train, val or test, got {self.reference!r}")


class Evaluation(Callback):
    """Evaluates with EMA weights; leaves training's random numbers, modes and weights as they were.

    Args:
        run: the run folder.
        options: see `EvaluationOptions`.
        checkpoints: where the best state goes; None keeps none.
    """

    def __init__(self, run: Run, options: EvaluationOptions, checkpoints: Checkpoints | None = None):
        self.run, self.options, self.checkpoints = run, options, checkpoints
        self.split = options.reference
        self.spent: Spent | None = None
        self._evaluated = -1
        self._evaluator: Evaluator | None = None
        self._real: Tensor | None = None

    # ---- when ---------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        o, size = self.options, pl_module.spec
        kwargs = dict(num_clips=o.num_clips, num_frames=size.num_frames)
        self._metrics = resolve_metrics(o.metrics, **kwargs)  # what is missing is said before training
        in_training = resolve_metrics(o.metrics_in_training, **kwargs)
        self._training_metrics = [m for m in in_training if m.extractor.min_frames <= size.num_frames]
        for m in (*self._metrics, *self._training_metrics):
            least = m.extractor.min_frames, m.extractor.min_size
            if size.num_frames < least[0] or size.resolution < least[1]:
                raise UsageError(
                    f"evaluation: {m.name} needs clips of at least {least[0]} frames and {least[1]} pixels, these have "
                    f"{size.num_frames} and {size.resolution}: set data.num_frames and data.resolution, or leave it "
                    "out of evaluation.metrics and evaluation.metrics_in_training"
                )
        if not self._training_metrics or self._training_metrics[0].spec.score not in ("frechet", "kernel"):
            raise UsageError(
                "evaluation.metrics_in_training: the first chooses best.ckpt and must be a distance between "
                f"distributions, such as fvd_random; got {', '.join(o.metrics_in_training) or 'none'}"
            )
        self._control_metrics = resolve_metrics(
            ["fvd_random", *(["motion"] if pl_module.spec.num_frames > 1 else []), "diversity", "nearest"],
            **kwargs,
        )
        if trainer.is_global_zero and o.metrics == "auto":
            trainer.print(auto_note(self._metrics)) if trainer.progress_bar_callback else None
        if stage in ("validate", "test"):
            self.split = {"validate": "val", "test": "test"}[stage]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated = trainer.global_step
        if trainer.global_step == 0:
            self.evaluate(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step != self._evaluated and (step % self.options.every_n_steps == 0 or step == trainer.max_steps):
            self._evaluate_and_offer(trainer, pl_module)
            for hook in ("start", "epoch_start", "epoch_end", "end"):  # what Lightning's callbacks wait for
                for callback in trainer.callbacks:
                    if callback is not self:
                        getattr(callback, f"on_validation_{hook}")(trainer, pl_module)

    def _evaluate_and_offer(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluated = trainer.global_step
        values = self.evaluate(trainer, pl_module)
        if trainer.global_step % self.options.every_n_steps == 0:  # an interruption's own evaluation changes nothing
            pl_module.after_evaluation(values)
        if self.checkpoints is not None:
            self.checkpoints.offer(trainer, self.score(values))

    def score(self, values: dict[str, float]) -> float:
        """What `best.ckpt` minimises: the first metric x max(m, 1/m), where m is the motion as a ratio to real clips.

        The Fréchet distances see little of time: without the factor `fvd_random` kept clips that hardly moved (m 0.2)
        before better ones that did. Without `motion` in `metrics_in_training` the first metric decides alone.

        Args:
            values: of one evaluation, by logged name, such as `val/fvd_random`.
        """
        value = values.get(f"val/{self._training_metrics[0].name}", math.inf)
        motion = max(values.get("val/motion", 1.0), STILL)
        return value * max(motion, 1 / motion)

    @property
    def selection(self) -> str:
        """`score` in words, for reports."""
        names = [m.name for m in self._training_metrics]
        return f"lowest {names[0]}" + (" x max(motion, 1/motion)" if "motion" in names else "")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self._evaluated:  # stopped by a budget or by hand
            self._evaluate_and_offer(trainer, pl_module)
        best = self.run.checkpoints / "best.ckpt"
        if best.exists():
            model, step = load_like(pl_module, best), read_checkpoint(best)["global_step"]
            self.report(trainer, model, best.name, step)
        else:
            self.report(trainer, pl_module, "last.ckpt", trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.on_test_end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = trainer.ckpt_path  # Lightning brings the weights back, not the step
        self.report(trainer, pl_module, str(path), read_checkpoint(path)["global_step"] if path else 0)

    # ---- what ---------------------------------------------------------------------------------------------------

    def _real_clips(self, trainer: Trainer, seed: int, split: str | None = None, **which):
        """A callable that starts a fresh pass over this process's share of seeded real clips (of one domain)."""
        data, o = trainer.datamodule, self.options
        shard = dict(rank=trainer.global_rank, world=trainer.world_size)
        part = split or self.split
        return lambda: data.eval_clips(part, o.num_clips, seed, batch_size=o.batch_size, **shard, **which)

    def _make_evaluator(self, trainer: Trainer, metrics: list, seed: int, **which) -> Evaluator:
        data = trainer.datamodule
        about = data.describe()
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
            self._real_clips(trainer, seed, **which),
            # The floor of a generator that has learnt exactly these videos; unseen videos are a row of the controls.
            held_out=self._real_clips(trainer, seed + 1000, **which),
            floor_rule=f"another seeded draw of clips from the {self.split} videos",
            train=None if self.split == "train" else self._real_clips(trainer, seed, split="train", **which),
            fields=fields,
            device=trainer.lightning_module.device,
            cache=cache_dir() / "features",
            fingerprint=hashlib.sha256(record.encode()).hexdigest(),
            gather=gather_processes,
        )

    def _fakes(self, trainer: Trainer, module: LightningModule, seed: int):
        ids = range(self.options.num_clips)[trainer.global_rank :: trainer.world_size]
        return module.iter_samples(ids, seed, self.options.batch_size)

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """One evaluation of the EMA generator: metrics to the loggers, samples to `samples/`."""
        if self._evaluator is None:
            self._evaluator = self._make_evaluator(trainer, self._training_metrics, SELECTION_SEED)
        results = self._evaluator.evaluate(self._fakes(trainer, pl_module, SELECTION_SEED), self.options.num_clips)
        values = {f"val/{name}": r["value"] for name, r in results.items() if r["value"] is not None}
        self._log(trainer, pl_module, values)
        return values

    def _log(self, trainer: Trainer, module: LightningModule, values: dict[str, float]) -> None:
        """The values of an evaluation for callbacks that monitor one; one process hands them and samples to loggers."""
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        self._check_monitors(trainer)
        if trainer.is_global_zero:
            files = self.write_samples(trainer, module, f"step-{trainer.global_step:07d}")
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
                if hasattr(logger, "log_clips"):
                    logger.log_clips(files, trainer.global_step)
        trainer.strategy.barrier()

    def _check_monitors(self, trainer: Trainer) -> None:
        """Refuse a callback that waits for a metric that there is not, at the first evaluation."""
        for callback in trainer.callbacks:
            name = getattr(callback, "monitor", None)
            if isinstance(name, str) and name.split("/")[0] in ("val", "test") and name not in trainer.callback_metrics:
                known = ", ".join(k for k in sorted(trainer.callback_metrics) if k.split("/")[0] in ("val", "test"))
                kind = type(callback).__name__
                raise UsageError(f"trainer.callbacks: {kind}.monitor {name!r} is not evaluated; there are: {known}")

    def write_samples(self, trainer: Trainer, module: LightningModule, stem: str) -> dict[str, Path]:
        """Contact sheet, gif and mp4 of fixed latents, a row group of real clips marked."""
        if self._real is None:
            batches = trainer.datamodule.eval_clips(self.split, SHEET_REAL, SELECTION_SEED, batch_size=SHEET_REAL)
            self._real = torch.cat([clips for _, clips, *_ in batches])
        fakes = module.sample(SHEET_FAKE, seed=SELECTION_SEED)
        tiled = torch.cat(list(fakes), dim=-1)  # clips side by side: (C, T, H, 8*W)
        return self._write_files(stem, sheet([("real", self._real), ("generated", fakes)]), tiled)

    def _write_files(self, stem: str, picture: np.ndarray, clip: Tensor) -> dict[str, Path]:
        """A contact sheet, and a clip (C, T, H, W) as gif and mp4, under `samples/`."""
        folder = self.run.dir / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        files = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "gif", "mp4")}
        write_png(files["png"], picture)
        write_gif(files["gif"], clip)
        write_mp4(files["mp4"], clip)
        return files

    def report(self, trainer: Trainer, module: LightningModule, checkpoint: str, step: int) -> dict[str, Any]:
        """Final metrics of the checkpoint of `step` on latents never used for selection, beside the controls;
        `report.json`."""
        evaluator = self._make_evaluator(trainer, self._metrics, REPORT_SEED)
        results = evaluator.evaluate(self._fakes(trainer, module, REPORT_SEED), self.options.num_clips)
        controls, protocols = self._controls(trainer, module)
        report = self._head(trainer, module, checkpoint, step) | {
            "metrics": results,
            "controls": controls,
            "controls_protocol": protocols,
        }
        self._publish(trainer, module, report, print_report)
        return report

    def _head(self, trainer: Trainer, module: LightningModule, checkpoint: str, step: int) -> dict[str, Any]:
        """What a report says of the run whatever was measured."""
        return {
            "vidiff": __version__,
            "config_hash": config_hash(self.run.config),
            "model": type(module).__name__,
            "checkpoint": checkpoint,
            "checkpoint_step": step,
            "selection": self.selection,
            "steps": trainer.global_step if trainer.state.fn == "fit" else step,
            "batches_seen": trainer.lightning_module.batches_seen,
            "clips_seen": self.spent.clips if self.spent else None,
            "cpu_seconds": self.spent.cpu_s if self.spent else None,
            "parameters": {p: count_parameters(n) for p, n in module.players.items()},
            "data": trainer.datamodule.describe(),
        }

    def _publish(self, trainer: Trainer, module: LightningModule, report: dict[str, Any], show: Callable) -> None:
        """One process writes the report and the final samples, and shows them with `show(report, path, files)`."""
        if trainer.is_global_zero:
            name = "report.json" if trainer.state.fn == "fit" else f"report-{trainer.state.fn.value}.json"
            write_json(self.run.dir / name, report)
            show(report, self.run.dir / name, self.write_samples(trainer, module, "final"))
        trainer.strategy.barrier()

    def _controls(self, trainer: Trainer, module: LightningModule) -> tuple[dict[str, dict], dict[str, dict]]:
        """The same measures for rubbish that must lose, for the untrained generator and for held-out real clips.

        Returns:
            {control: {metric: value}}, and {metric: its protocol record}, which is one for all controls.
        """
        evaluator = self._make_evaluator(trainer, self._control_metrics, REPORT_SEED)
        rows = {"untrained": evaluator.evaluate(self._fakes(trainer, Untrained(module), REPORT_SEED))}
        data, o = trainer.datamodule, self.options
        # Made from another draw than the reference, else they would profit from knowing it.
        batches = list(data.eval_clips(self.split, o.num_clips, REPORT_SEED + 2000, batch_size=o.batch_size))
        ids = torch.cat([torch.as_tensor(i) for i, *_ in batches])
        real = torch.cat([clips for _, clips, *_ in batches])
        mine = slice(trainer.global_rank, None, trainer.world_size)
        for name, clips in controls(real, seed=REPORT_SEED).items():
            rows[name] = evaluator.evaluate([(ids[mine], clips[mine])])
        if self.split == "train" and data.videos["val"]:
            shard = dict(rank=trainer.global_rank, world=trainer.world_size)
            rows["real_held_out"] = evaluator.evaluate(data.eval_clips("val", o.num_clips, REPORT_SEED, **shard))
        values = {name: {m: r["value"] for m, r in result.items()} for name, result in rows.items()}
        return values, {m: r["protocol"] for m, r in rows["untrained"].items()}


class Untrained:
    """The generator as it was before the first step, with the `iter_samples` of its module.

    It is measured exactly like the trained one, BatchNorm's statistics included: with their initial values it would
    be worse than its weights are.
    """

    def __init__(self, module: LightningModule):
        self.module = module

    def iter_samples(self, ids, seed: int, batch_size: int):
        average = self.module.generator_ema
        trained, stale = average.module, average.stale
        average.module, average.stale = self.module.initial_generator(), True
        try:
            yield from self.module.iter_samples(ids, seed, batch_size)
        finally:
            average.module, average.stale = trained, stale
