"""Scores and shows a translation during training, keeps the best state, and writes the final report."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.errors import UsageError
from vidiff.metrics.classifier import DomainClassifier, remembered, train_classifier
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.gather import gather_processes
from vidiff.metrics.paired import flicker, l1, nyquist_energy, psnr, ssim
from vidiff.metrics.position import PositionRegressor, position_error, train_regressor
from vidiff.paths import cache_dir
from vidiff.training.evaluation import REPORT_SEED, SELECTION_SEED, Evaluation
from vidiff.training.report import print_translation_report
from vidiff.video.pyav import PyAVReader
from vidiff.video.write import sheet, write_mp4

CURVE_CLIPS = 16  # paired test clips of the PSNR curve during training, never used for selection
JUDGE_CLIPS = 256  # real clips of each domain that the judges learn from
JUDGE_VERSION = 1  # raise it whenever a judge is trained in another way: the kept ones are then not used
ROWS = ("psnr", "ssim", "identity_psnr", "identity_ssim", "oracle_psnr", "oracle_ssim", "cycle_l1", "cycle_psnr")
ROWS += ("cycle_ssim", "flicker", "flicker_source", "nyquist", "true_nyquist", "target_accuracy")
ROWS += ("position_error", "identity_position_error", "oracle_position_error")


class Sources(NamedTuple):
    """A batch of clips to translate.

    Args:
        ids: int64 (B,).
        clips: uint8 (B, C, T, H, W).
        truth: their true counterparts, where there are any.
        positions: where the sprites are in `clips`, (B, T, 2, 2), where that is known.
        pair: (source, target) domain.
    """

    ids: Tensor
    clips: Tensor
    truth: Tensor | None
    positions: Tensor | None
    pair: tuple[int, int]


class Judges(NamedTuple):
    """Networks trained on real clips only: which domain is it, and where are the sprites (embedded data only)?"""

    classifier: DomainClassifier
    regressor: PositionRegressor | None


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
    ) -> Iterator[Sources]:
        """This process's share of a direction's clips: clip i comes from the i-th of its pairs of domains, in turn."""
        pairs, data = self._pairs(trainer, module)[direction], trainer.datamodule
        shard = dict(batch_size=self.options.batch_size, rank=trainer.global_rank, world=trainer.world_size)
        for j, (source, target) in enumerate(pairs):
            count = len(range(j, num_clips, len(pairs)))
            if not count:
                continue
            domains = dict(domain=data.domains[source], target=data.domains[target])
            for batch in data.eval_batches(split, count, seed, paired=True, **domains, **shard):
                ids = batch["slot"] * len(pairs) + j
                yield Sources(ids, batch["clip"], batch.get("truth"), batch.get("positions"), (source, target))

    def _translated(
        self, module: LightningModule, sources: Iterator[Sources], table: list, judges: Judges | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids, translations); on the way a row for each clip of everything in ROWS goes to `table`.

        Args:
            judges: for the report: what they say, the way back, and the oracle are measured as well.
        """
        for ids, clips, truth, positions, (source, target) in sources:
            fake = module.translate(clips, source, target)
            row = {"flicker": flicker(fake), "flicker_source": flicker(clips)}
            seen = {"": fake, "identity_": clips}
            if truth is not None and judges is not None:
                seen["oracle_"] = reencode(truth)
            if truth is not None:
                row |= {f"{name}psnr": psnr(clip, truth) for name, clip in seen.items()}
                row |= {f"{name}ssim": ssim(clip, truth) for name, clip in seen.items()}
                row |= {"nyquist": nyquist_energy(fake), "true_nyquist": nyquist_energy(truth)}
            if judges is not None:
                back = module.translate(fake, target, source)
                row |= {"cycle_l1": l1(back, clips), "cycle_psnr": psnr(back, clips), "cycle_ssim": ssim(back, clips)}
                row["target_accuracy"] = (judges.classifier.classify(fake) == target).float()
            if judges is not None and judges.regressor is not None and positions is not None:
                for name, clip in seen.items():
                    row[f"{name}position_error"] = position_error(judges.regressor.locate(clip), positions)
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

    def score(self, values: dict[str, float]) -> float:
        """The first metric, mean over the directions: how much moves is given by the source."""
        return values.get(f"val/{self._training_metrics[0].name}", math.inf)

    @property
    def selection(self) -> str:
        lead = self._training_metrics[0].name
        return f"lowest mean {lead} over the directions, translations of held-out clips against the training target"

    # ---- during training ----------------------------------------------------------------------------------------

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """Every direction with the EMA generators: metrics to the loggers, a sheet to `samples/`."""
        n, values = self.options.num_clips, {}
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
            rows = means(table)
            shown = ("psnr", "ssim", "psnr_gain", "ssim_gain", "nyquist_ratio")
            values |= {f"test/{m}_{name}": rows[m] for m in shown if m in rows}
        for metric in self._training_metrics:
            each = [values[k] for d in directions if (k := f"val/{metric.name}_{d}") in values]
            if len(each) == len(directions):
                values[f"val/{metric.name}"] = math.fsum(each) / len(each)
        self._log(trainer, pl_module, values)
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
        return self._write_files(stem, sheet(groups), torch.cat(tiles, dim=-1 if len(directions) == 2 else -2))

    # ---- the report ---------------------------------------------------------------------------------------------

    def report(self, trainer: Trainer, module: LightningModule, checkpoint: str, step: int) -> dict[str, Any]:
        """Every direction of the checkpoint of `step` on clips never used for selection; `report.json`."""
        n, split = self.options.num_clips, self._held_out(trainer, "test")
        judges, on_real = self._judges(trainer, module, split)
        metrics, directions = {}, {}
        for name, pairs in self._pairs(trainer, module).items():
            evaluator = self._evaluator_of(trainer, name, pairs[0][1], self._metrics, REPORT_SEED)
            passes = functools.partial(self._sources, trainer, module, name, split, n, REPORT_SEED)
            table: list = []
            results = evaluator.evaluate(self._translated(module, passes(), table, judges), n)
            rows = means(table)
            controls = {"identity": evaluator.evaluate((batch.ids, batch.clips) for batch in passes())}
            if "oracle_psnr" in rows:
                true = ((batch.ids, reencode(batch.truth)) for batch in passes() if batch.truth is not None)
                controls["oracle"] = evaluator.evaluate(true)
            metrics |= {f"{m}_{name}": r for m, r in results.items()}
            directions[name] = rows | {
                "sources": [trainer.datamodule.domains[s] for s, _ in pairs],
                "target": trainer.datamodule.domains[pairs[0][1]],
                "controls": {c: {m: r["value"] for m, r in result.items()} for c, result in controls.items()},
            }
        about = {"trained_on": "real train clips of every domain", "split": split}
        position = None
        if judges.regressor is not None:
            position = about | {"unit": "pixels of the clip", "error_on_real": on_real["position_error"]}
        report = self._head(trainer, module, checkpoint, step) | {
            "protocol": {
                "sources": split,
                "paired": "psnr, ssim: uint8 / 255, whole clip and mean over frames, mean over clips",
                "gain": "psnr, ssim minus those of the untranslated clip",
                "oracle": "the true counterpart through H.264 (crf 18) and back",
                "flicker": "mean |second temporal difference| / 2 in [0, 1]",
                "nyquist_ratio": "energy at half a cycle a pixel, translation over true counterpart: a grid if above 1",
                "position": "distance in pixels of the clip between the renderer's sprite centres in the source and "
                "the highest peaks (as many as sprites, better assignment in each frame) of the regressor's heat map "
                "on the translation; mean over sprites, frames, clips",
                "num_clips": n,
                "seed": REPORT_SEED,
            },
            "classifier": about | {"accuracy_on_real": on_real["accuracy"]},
            "position_regressor": position,
            "metrics": metrics,
            "directions": directions,
        }
        self._publish(trainer, module, report, print_translation_report)
        return report

    def _judges(self, trainer: Trainer, module: LightningModule, split: str) -> tuple[Judges, dict[str, dict]]:
        """Both judges (the same on every process and for every run on these clips), and how good they are on real
        held-out clips of each domain."""
        data, n = trainer.datamodule, self.options.num_clips
        count = min(JUDGE_CLIPS, max(n, 32))

        def draw(split: str, count: int, domain: str) -> dict[str, Tensor]:
            batches = list(data.eval_batches(split, count, REPORT_SEED, domain=domain))
            return {k: torch.cat([b[k] for b in batches]) for k in ("clip", "positions") if k in batches[0]}

        @functools.cache
        def clips() -> list[dict[str, Tensor]]:
            return [draw("train", count, domain) for domain in data.domains]

        def judge(name: str, build, train) -> torch.nn.Module:
            header = {"judge": name, "version": JUDGE_VERSION, "clips": count, "data": data.describe()}
            return remembered(cache_dir() / "judges", header, build, train).to(module.device)

        classifier = judge(
            "domain",
            lambda: DomainClassifier(len(data.domains), data.channels),
            lambda: train_classifier([c["clip"] for c in clips()], REPORT_SEED, device=module.device),
        )
        real = {domain: draw(split, n, domain) for domain in data.domains}
        good = [float((classifier.classify(c["clip"]) == k).float().mean()) for k, c in enumerate(real.values())]
        about = {"accuracy": dict(zip(data.domains, good))}
        if not all("positions" in c for c in real.values()):
            return Judges(classifier, None), about
        regressor = judge(
            "position",
            lambda: PositionRegressor(data.channels),
            lambda: train_regressor(
                *(torch.cat([c[k] for c in clips()]) for k in ("clip", "positions")), REPORT_SEED, device=module.device
            ),
        )
        about["position_error"] = {
            domain: float(position_error(regressor.locate(c["clip"]), c["positions"]).mean())
            for domain, c in real.items()
        }
        return Judges(classifier, regressor), about


def means(table: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the clips of all processes of what was measured; what has no value is left out."""
    ids = torch.cat([ids for ids, _ in table]) if table else torch.zeros(0, dtype=torch.int64)
    rows = torch.cat([rows for _, rows in table]) if table else torch.zeros(0, len(ROWS))
    values = dict(zip(ROWS, gather_processes(ids, rows)[1].double().nanmean(0).tolist()))
    out = {name: value for name, value in values.items() if not math.isnan(value)}
    if "flicker" in out:
        out["flicker_difference"] = out["flicker"] - out["flicker_source"]
    if "nyquist" in out:
        out["nyquist_ratio"] = out["nyquist"] / max(out["true_nyquist"], 1e-12)
    for name in ("psnr", "ssim"):
        if name in out:
            out[f"{name}_gain"] = out[name] - out[f"identity_{name}"]
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
