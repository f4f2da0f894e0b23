"""Scores and shows a translation during training, and compares it with copies and with the truth in the report."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.paired import l1
from vidiff.models.translation import Translator
from vidiff.pages.clips import columns_of
from vidiff.training.evaluation import REPORT_SEED, SELECTION_SEED, TIMED, Evaluation
from vidiff.training.machine import seconds_per_clip
from vidiff.training.page import Wall
from vidiff.training.probes import Probes, train_probes
from vidiff.training.report import print_translation_report
from vidiff.training.translation_rows import PROTOCOL, Sources, means, reencode, row_of
from vidiff.video.sheet import sheet

CURVE_CLIPS = 16  # paired test clips of the PSNR curve during training, never used for selection
CURVES = ("psnr", "ssim", "psnr_gain", "ssim_gain", "nyquist_ratio", "flicker_ratio", "grid_ratio")
WALL_ROWS = {4: 6, 3: 4, 2: 3, 1: 2}  # of a page, by how many clips of that size have room side by side


class TranslationEvaluation(Evaluation):
    """`Evaluation` of a `Translator`: every direction against the real clips of its target domain.

    Args: as `Evaluation`. `num_clips` counts for each direction; where several domains are translated to one target,
    they share it. `reference` is the split of the real target clips; sources are held-out clips: of `val` while
    training, of `test` in the report.
    """

    show = staticmethod(print_translation_report)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not hasattr(trainer.datamodule, "domains"):
            raise UsageError(
                f"{type(pl_module).__name__} translates between domains: use PairDataModule or DomainDataModule for "
                f"--data, not {type(trainer.datamodule).__name__}"
            )
        self._evaluators: dict[str, Evaluator] = {}  # of the evaluations during training, by direction
        self._shown: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._apart: dict[str, float] = {}  # by direction: how far a source is from what it should become

    @property
    def selection(self) -> str:
        lead = self._training_metrics[0].name
        return f"lowest mean {lead} over the directions, translations of held-out clips against the training target"

    def _held_out(self, wanted: str) -> str:
        """The split that sources come from: the stage's own, else `wanted` or the nearest that holds every domain."""
        if self.split in ("val", "test") and self.options.reference == "train":
            wanted = self.split
        for split in (wanted, "test", "val", "train"):
            if {e.domain for e in self.data.videos[split]} >= set(self.data.domains):
                return split
        raise UsageError(f"{self.data.root}: no split holds videos of every domain")

    def _pairs(self, module: Translator) -> dict[str, list[tuple[int, int]]]:
        """Name of each direction -> its (source, target) pairs of domains."""
        known, given = module.num_domains, len(self.data.domains)
        if known != given:
            raise UsageError(f"the model knows {known} domains, the data {given}")
        return module.directions

    def _sources(self, module: Translator, direction: str, split: str, num_clips: int, seed: int) -> Iterator[Sources]:
        """This process's share of a direction's clips: clip i comes from the i-th of its pairs of domains, in turn."""
        pairs, names, size = self._pairs(module)[direction], self.data.domains, self.options.batch_size
        for j, (source, target) in enumerate(pairs[:num_clips]):
            count = len(range(j, num_clips, len(pairs)))
            which = dict(paired=True, domain=names[source], target=names[target])
            for batch in self.data.eval_batches(split, count, seed, size, **which, **self._share):
                ids = batch["slot"] * len(pairs) + j
                yield Sources(ids, batch["clip"], batch.get("truth"), batch.get("positions"), (source, target))

    def _translated(
        self, module: Translator, sources: Iterator[Sources], table: list, probes: Probes | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids, translations); on the way the rows of each batch go to `table`, see `row_of`."""
        for batch in sources:
            fake = module.translate(batch.clips, *batch.pair)
            table.append((batch.ids, row_of(module, batch, fake, probes)))
            yield batch.ids, fake

    def measure(self, module: Translator) -> dict[str, float]:
        """The metrics of every direction and their means, and the curves of the paired test clips."""
        values, directions = {}, self._pairs(module)
        for name, pairs in directions.items():
            values |= self._distances(module, name, pairs[0][1]) | self._curves(module, name)
        for metric in self._training_metrics:
            for found in (values, self.floors):
                each = [found[k] for d in directions if (k := f"val/{metric.name}_{d}") in found]
                if len(each) == len(directions):
                    found[f"val/{metric.name}"] = math.fsum(each) / len(each)
        return values

    def _distances(self, module: Translator, name: str, target: int) -> dict[str, float]:
        """The metrics of one direction, `val/<metric>_<direction>`."""
        if name not in self._evaluators:
            domain = self.data.domains[target]
            self._evaluators[name] = self._make_evaluator(self._training_metrics, SELECTION_SEED, domain=domain)
        count = self.options.num_clips
        sources = self._sources(module, name, self._held_out("val"), count, SELECTION_SEED)
        results = self._evaluators[name].evaluate(self._translated(module, sources, []), count)
        self.floors |= {f"val/{m}_{name}": r["floor"] for m, r in results.items() if r["floor"] is not None}
        return {f"val/{m}_{name}": r["value"] for m, r in results.items() if r["value"] is not None}

    def _curves(self, module: Translator, name: str) -> dict[str, float]:
        """The measures of a few paired test clips of one direction, `test/<measure>_<direction>`."""
        count = min(self.options.num_clips, CURVE_CLIPS)
        table: list = []
        sources = self._sources(module, name, self._held_out("test"), count, SELECTION_SEED)
        for _ in self._translated(module, sources, table):
            pass  # only the table is wanted
        rows = means(table)
        values = {f"test/{m}_{name}": rows[m] for m in CURVES if m in rows}
        if name not in self._apart:
            self._apart[name] = max(rows.get("true_change") or self._distance(module, name), 1e-6)
        return values | {f"test/change_{name}": rows["change"] / self._apart[name]}

    def _distance(self, module: Translator, name: str) -> float:
        """Mean |a - b| in [0, 1] of real clips a of a direction's first source and b of its target: what a translation
        is apart from its source at most, where its true counterpart is not known."""
        pair = [self.data.domains[k] for k in self._pairs(module)[name][0]]
        split, count = self._held_out("test"), min(self.options.num_clips, CURVE_CLIPS)
        sides = [self.data.eval_clips(split, count, SELECTION_SEED, count, domain=domain) for domain in pair]
        a, b = (next(clips)[1] for clips in sides)
        return float(l1(a, b).mean())

    def headline(self, values: dict[str, float]) -> str:
        """With the gain over the untranslated clip, where the true counterparts are known."""
        gains = [f"{k[15:]} {v:+.1f} dB" for k, v in values.items() if k.startswith("test/psnr_gain_")]
        return super().headline(values) + (f", PSNR gained: {', '.join(gains)}" if gains else "")

    def write_samples(self, module: Translator, stem: str) -> dict[str, Path]:
        """A sheet with source, translation, way back and, where it is known, the truth of each direction."""
        groups, tiles = [], []
        directions, names = self._pairs(module), self.data.domains
        count = 4 if len(directions) == 2 else 1
        for source, target in [pair for pairs in directions.values() for pair in pairs]:
            title = f"{names[source]} to {names[target]}"
            if title not in self._shown:
                which = dict(paired=True, domain=names[source], target=names[target])
                clips = self.data.eval_clips(self._held_out("test"), count, SELECTION_SEED, count, **which)
                self._shown[title] = next(clips)[1:]
            clips, truth = self._shown[title]
            fake = module.translate(clips, source, target)
            cycle = module.translate(fake, target, source)
            groups += [(f"{title}: source", clips), ("translation", fake), ("and back", cycle)]
            if truth is not None:
                groups.append(("true counterpart", truth))
            pair = torch.cat([clips, fake], dim=-2)  # the source above its translation: (N, C, T, 2H, W)
            tiles.append(torch.cat(list(pair), dim=-1))  # clips side by side: (C, T, 2H, N*W)
        return self._write_files(stem, sheet(groups), torch.cat(tiles, dim=-1 if len(directions) == 2 else -2))

    def walls(self, module: Translator) -> list[Wall]:
        """Of each direction, rows of a source, its translation and, where it is known, the true counterpart."""
        out, names, split = [], self.data.domains, self._held_out("test")
        count = WALL_ROWS[columns_of(module.spec.resolution)]
        for pairs in self._pairs(module).values():
            rows: list[tuple[Tensor, Tensor, Tensor | None]] = []
            for j, (source, target) in enumerate(pairs[:count]):
                wanted = len(range(j, count, len(pairs)))
                which = dict(paired=True, domain=names[source], target=names[target])
                _, clips, truth = next(self.data.eval_clips(split, wanted, REPORT_SEED, wanted, **which))
                rows += zip(clips, module.translate(clips, source, target), [None] * wanted if truth is None else truth)
            columns = ("source", "translation", "true counterpart")
            columns = columns[: 2 if any(truth is None for *_, truth in rows) else 3]
            tiles = [clip for row in rows for clip in row[: len(columns)]]
            title = f"{', '.join(names[source] for source, _ in pairs)} to {names[pairs[0][1]]}"
            out.append(Wall(title, tiles, len(columns), columns))
        return out

    def results(self, module: Translator) -> dict[str, Any]:
        """Every direction on clips never used for selection, its controls, and how good the probes are."""
        count, split = self.options.num_clips, self._held_out("test")
        probes = train_probes(self.data, split, count, module.device)
        metrics, directions = {}, {}
        for name, pairs in self._pairs(module).items():
            found, directions[name] = self._direction(module, name, pairs, split, probes)
            metrics |= {f"{metric}_{name}": result for metric, result in found.items()}
        about = {"trained_on": "real train clips of every domain", "split": split}
        position, batch = None, next(self._sources(module, next(iter(directions)), split, TIMED, REPORT_SEED))
        seconds = seconds_per_clip(lambda: module.translate(batch.clips, *batch.pair), len(batch.clips), self._device)
        if probes.error is not None:
            position = about | {"unit": "pixels of the clip", "error_on_real": probes.error}
        return {
            "protocol": {"sources": split, **PROTOCOL, "num_clips": count, "seed": REPORT_SEED},
            "classifier": about | {"accuracy_on_real": probes.accuracy},
            "position_regressor": position,
            "metrics": metrics,
            "directions": directions,
            "sampling_s_per_clip": seconds,
        }

    def _direction(
        self, module: Translator, name: str, pairs: list[tuple[int, int]], split: str, probes: Probes
    ) -> tuple[dict[str, dict], dict[str, Any]]:
        """The metrics of one direction, and its record in the report: the means of its rows and its controls."""
        count, domains = self.options.num_clips, self.data.domains
        target = domains[pairs[0][1]]
        evaluator = self._make_evaluator(self._metrics, REPORT_SEED, self.options.blocks, domain=target)
        passes = functools.partial(self._sources, module, name, split, count, REPORT_SEED)
        table: list = []
        results = evaluator.evaluate(self._translated(module, passes(), table, probes), count)
        rows = means(table)
        controls = {"identity": evaluator.evaluate((batch.ids, batch.clips) for batch in passes())}
        if "oracle_psnr" in rows:
            true = ((batch.ids, reencode(batch.truth)) for batch in passes() if batch.truth is not None)
            controls["oracle"] = evaluator.evaluate(true)
        return results, rows | {
            "sources": [domains[source] for source, _ in pairs],
            "target": target,
            "controls": {c: {m: r["value"] for m, r in result.items()} for c, result in controls.items()},
        }
