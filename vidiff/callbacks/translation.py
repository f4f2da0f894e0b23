"""Scores and shows a translation during training, keeps the best state, and writes the final report."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff import __version__
from vidiff.callbacks.evaluation import REPORT_SEED, SELECTION_SEED, Evaluation
from vidiff.callbacks.report import print_translation_report
from vidiff.callbacks.run import write_text
from vidiff.clip import thwc_to_clip
from vidiff.data.pyav import PyAVReader
from vidiff.errors import UsageError
from vidiff.media import sheet, write_gif, write_mp4, write_png
from vidiff.metrics.classifier import DomainClassifier, train_classifier
from vidiff.metrics.evaluation import Evaluator
from vidiff.metrics.gather import gather_processes
from vidiff.metrics.paired import flicker, l1, psnr, ssim
from vidiff.nn.blocks import count_parameters

SELECTION = "lowest mean fvd_random over the directions, translations of held-out clips against the training target"
CURVE_CLIPS = 16  # paired test clips of the PSNR curve during training, never used for selection
CLASSIFIER_CLIPS = 256  # real clips of each domain that the classifier learns from
ROWS = ("psnr", "ssim", "identity_psnr", "identity_ssim", "oracle_psnr", "oracle_ssim", "cycle_l1", "cycle_psnr")
ROWS += ("cycle_ssim", "flicker", "flicker_source", "target_accuracy")
Batch = tuple[Tensor, Tensor, Tensor | None, tuple[int, int]]  # ids, clips, truth or None, (source, target) domain


class TranslationEvaluation(Evaluation):
    """`Evaluation` for models with `translate`: every direction against the real clips of its target domain.

    Args: as `Evaluation`. `num_clips` counts for each direction; where several domains are translated to one target,
    they share it. `reference` is the split of the real target clips; sources are held-out clips: of `val` while
    training, of `test` in the report.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not hasattr(trainer.datamodule, "domains"):
            raise UsageError(
                f"{type(pl_module).__name__} translates between domains: use PairDataModule or DomainDataModule for "
                f"--data, not {type(trainer.datamodule).__name__}"
            )
        self._evaluators: dict[tuple[str, int], Evaluator] = {}
        self._shown: dict[str, tuple[Tensor, Tensor | None]] = {}

    # ---- clips --------------------------------------------------------------------------------------------------

    def _held_out(self, trainer: Trainer, wanted: str) -> str:
        """The split that sources come from: the stage's own, else `wanted` or the nearest that holds every domain."""
        if self.split in ("val", "test") and self.options.reference == "train":
            wanted = self.split
        data = trainer.datamodule
        for split in (wanted, "test", "val", "train"):
            if {e.domain for e in data.videos[split]} >= set(data.domains):
                return split
        raise UsageError(f"{data.root}: no split holds videos of every domain")

    def _sources(
        self, trainer: Trainer, module: LightningModule, direction: str, split: str, num_clips: int, seed: int
    ) -> Iterator[Batch]:
        """This process's share of a direction's clips: clip i comes from the i-th of its pairs of domains, in turn."""
        pairs, data = self._pairs(trainer, module)[direction], trainer.datamodule
        shard = dict(batch_size=self.options.batch_size, rank=trainer.global_rank, world=trainer.world_size)
        for j, (source, target) in enumerate(pairs):
            count = len(range(j, num_clips, len(pairs)))
            if not count:
                continue
            domains = dict(domain=data.domains[source], target=data.domains[target])
            for ids, clips, truth in data.eval_clips(split, count, seed, paired=True, **domains, **shard):
                yield ids * len(pairs) + j, clips, truth, (source, target)

    def _translated(
        self, module: LightningModule, sources: Iterator[Batch], table: list, full: bool = False, classifier=None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids, translations); on the way a row for each clip of everything in ROWS goes to `table`.

        Args:
            full: also the way back, and the oracle.
            classifier: judges the translations.
        """
        for ids, clips, truth, (source, target) in sources:
            fake = module.translate(clips, source, target)
            row = {"flicker": flicker(fake), "flicker_source": flicker(clips)}
            if truth is not None:
                row |= {"psnr": psnr(fake, truth), "ssim": ssim(fake, truth)}
                row |= {"identity_psnr": psnr(clips, truth), "identity_ssim": ssim(clips, truth)}
            if full:
                back = module.translate(fake, target, source)
                row |= {"cycle_l1": l1(back, clips), "cycle_psnr": psnr(back, clips), "cycle_ssim": ssim(back, clips)}
            if full and truth is not None:
                oracle = reencode(truth)
                row |= {"oracle_psnr": psnr(oracle, truth), "oracle_ssim": ssim(oracle, truth)}
            if classifier is not None:
                row["target_accuracy"] = (classifier.classify(fake) == target).float()
            nothing = torch.full((len(ids),), math.nan)
            table.append((ids, torch.stack([row.get(name, nothing).float().cpu() for name in ROWS], dim=1)))
            yield ids, fake

    def _pairs(self, trainer: Trainer, module: LightningModule) -> dict[str, list[tuple[int, int]]]:
        if len(trainer.datamodule.domains) != module.num_domains:
            raise UsageError(
                f"the model knows {module.num_domains} domains, the data {len(trainer.datamodule.domains)}"
            )
        module.data_record = module.data_record or trainer.datamodule.describe()
        return module.directions

    def _evaluator_of(self, trainer: Trainer, direction: str, target: int, metrics: list, seed: int) -> Evaluator:
        if (direction, seed) not in self._evaluators:
            domain = trainer.datamodule.domains[target]
            self._evaluators[direction, seed] = self._make_evaluator(trainer, metrics, seed, domain=domain)
        return self._evaluators[direction, seed]

    # ---- during training ----------------------------------------------------------------------------------------

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Every direction with the EMA generators: metrics to the loggers, a sheet to `samples/`."""
        step, n, values = trainer.global_step, self.options.num_clips, {}
        directions = self._pairs(trainer, pl_module)
        for name, pairs in directions.items():
            evaluator = self._evaluator_of(trainer, name, pairs[0][1], self._training_metrics, SELECTION_SEED)
            split = self._held_out(trainer, "val")
            sources = self._sources(trainer, pl_module, name, split, n, SELECTION_SEED)
            results = evaluator.evaluate(self._translated(pl_module, sources, []), n)
            values |= {f"val/{m}_{name}": r["value"] for m, r in results.items() if r["value"] is not None}
            split, count, table = self._held_out(trainer, "test"), min(n, CURVE_CLIPS), []
            for _ in self._translated(
                pl_module, self._sources(trainer, pl_module, name, split, count, SELECTION_SEED), table
            ):
                pass
            if "psnr" in (rows := means(table)):
                values |= {f"test/psnr_{name}": rows["psnr"], f"test/ssim_{name}": rows["ssim"]}
                values[f"test/psnr_gain_{name}"] = rows["psnr"] - rows["identity_psnr"]
        for metric in self._training_metrics:
            each = [values[k] for d in directions if (k := f"val/{metric.name}_{d}") in values]
            if len(each) == len(directions):
                values[f"val/{metric.name}"] = math.fsum(each) / len(each)
        if trainer.is_global_zero:
            files = self.write_samples(trainer, pl_module, f"step-{step:07d}")
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)
                if hasattr(logger, "log_clips"):
                    logger.log_clips(files, step)
        trainer.strategy.barrier()
        return values

    def write_samples(self, trainer: Trainer, module: LightningModule, stem: str) -> dict[str, Path]:
        """A sheet with source, translation, way back and, where it is known, the truth of each direction."""
        groups, tiles = [], []
        directions, data = self._pairs(trainer, module), trainer.datamodule
        for pairs in directions.values():
            count = 4 if len(directions) == 2 else 1
            for source, target in pairs:
                title = f"{data.domains[source]} to {data.domains[target]}"
                if title not in self._shown:
                    which = dict(paired=True, domain=data.domains[source], target=data.domains[target])
                    split = self._held_out(trainer, "test")
                    _, clips, truth = next(data.eval_clips(split, count, SELECTION_SEED, batch_size=count, **which))
                    self._shown[title] = clips, truth
                clips, truth = self._shown[title]
                fake = module.translate(clips, source, target)
                back = module.translate(fake, target, source)
                groups += [(f"{title}: source", clips), ("translation", fake), ("and back", back)]
                groups += [("true counterpart", truth)] if truth is not None else []
                pair = torch.cat([clips, fake], dim=-2)  # the source above its translation: (N, C, T, 2H, W)
                tiles.append(torch.cat(list(pair), dim=-1))  # clips side by side: (C, T, 2H, N*W)
        folder = self.run.dir / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        files = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "gif", "mp4")}
        write_png(files["png"], sheet(groups))
        tiled = torch.cat(tiles, dim=-1 if len(directions) == 2 else -2)
        write_gif(files["gif"], tiled)
        write_mp4(files["mp4"], tiled)
        return files

    # ---- the report ---------------------------------------------------------------------------------------------

    def report(self, trainer: Trainer, module: LightningModule, checkpoint: str) -> dict[str, Any]:
        """Every direction on clips never used for selection, beside its controls; `report.json`."""
        n, split = self.options.num_clips, self._held_out(trainer, "test")
        classifier, real_accuracy = self._classifier(trainer, module, split)
        metrics, directions = {}, {}
        for name, pairs in self._pairs(trainer, module).items():
            evaluator = self._evaluator_of(trainer, name, pairs[0][1], self._metrics, REPORT_SEED)
            passes = functools.partial(self._sources, trainer, module, name, split, n, REPORT_SEED)
            table: list = []
            results = evaluator.evaluate(self._translated(module, passes(), table, True, classifier), n)
            rows = means(table)
            controls = {"identity": evaluator.evaluate((ids, clips) for ids, clips, *_ in passes())}
            if "oracle_psnr" in rows:
                true = ((ids, reencode(truth)) for ids, _, truth, _ in passes() if truth is not None)
                controls["oracle"] = evaluator.evaluate(true)
            metrics |= {f"{m}_{name}": r for m, r in results.items()}
            directions[name] = rows | {
                "sources": [trainer.datamodule.domains[s] for s, _ in pairs],
                "target": trainer.datamodule.domains[pairs[0][1]],
                "controls": {c: {m: r["value"] for m, r in result.items()} for c, result in controls.items()},
            }
        spent = self.spent
        report = {
            "vidiff": __version__,
            "model": type(module).__name__,
            "checkpoint": checkpoint,
            "selection": SELECTION,
            "steps": trainer.global_step,
            "batches_seen": trainer.lightning_module.batches_seen,
            "clips_seen": spent.clips if spent else None,
            "cpu_seconds": spent.cpu_s if spent else None,
            "parameters": {p: count_parameters(network) for p, network in module.players.items()},
            "data": trainer.datamodule.describe(),
            "protocol": {
                "sources": split,
                "paired": "psnr, ssim: uint8 / 255, whole clip and mean over frames, mean over clips",
                "oracle": "the true counterpart through H.264 (crf 18) and back",
                "flicker": "mean |second temporal difference| / 2 in [0, 1]",
                "num_clips": n,
                "seed": REPORT_SEED,
            },
            "classifier": {"trained_on": "real train clips", "accuracy_on_real": real_accuracy, "split": split},
            "metrics": metrics,
            "directions": directions,
        }
        if trainer.is_global_zero:
            name = "report.json" if trainer.state.fn == "fit" else f"report-{trainer.state.fn.value}.json"
            write_text(self.run.dir / name, json.dumps(report, indent=2, allow_nan=False) + "\n")
            files = self.write_samples(trainer, module, "final")
            print_translation_report(report, self.run.dir / name, files)
        trainer.strategy.barrier()
        return report

    def _classifier(
        self, trainer: Trainer, module: LightningModule, split: str
    ) -> tuple[DomainClassifier, dict[str, float]]:
        """A classifier trained on real clips (the same on every process), and its accuracy on real held-out ones."""
        data, n = trainer.datamodule, self.options.num_clips
        draw = lambda split, count, seed: [  # noqa: E731
            torch.cat([clips for _, clips, *_ in data.eval_clips(split, count, seed, domain=domain)])
            for domain in data.domains
        ]
        count = min(CLASSIFIER_CLIPS, max(n, 32))
        classifier = train_classifier(draw("train", count, REPORT_SEED), module.seed, device=module.device)
        accuracy = [
            float((classifier.classify(c) == k).float().mean()) for k, c in enumerate(draw(split, n, REPORT_SEED))
        ]
        return classifier, dict(zip(data.domains, accuracy))


def means(table: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the clips of all processes of what was measured; what has no value is left out."""
    ids = torch.cat([ids for ids, _ in table]) if table else torch.zeros(0, dtype=torch.int64)
    rows = torch.cat([rows for _, rows in table]) if table else torch.zeros(0, len(ROWS))
    values = dict(zip(ROWS, gather_processes(ids, rows)[1].double().nanmean(0).tolist()))
    out = {name: value for name, value in values.items() if not math.isnan(value)}
    if "flicker" in out:
        out["flicker_difference"] = out["flicker"] - out["flicker_source"]
    return out


def reencode(clips: Tensor) -> Tensor:
    """uint8 clips (B, C, T, H, W) through H.264 and back: what no translation that is written to a file can beat."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            path = Path(folder) / "clip.mp4"
            write_mp4(path, clip)
            frames = PyAVReader(path).read(range(clip.shape[1]))[:, : clip.shape[2], : clip.shape[3]]
            back = thwc_to_clip(frames)
            out.append(back if clip.shape[0] == 3 else back.float().mean(0, keepdim=True).round().to(torch.uint8))
    return torch.stack(out)
