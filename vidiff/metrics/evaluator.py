"""The one place where metrics are computed: by the training callback, the benchmark and `vidiff evaluate` alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff.errors import RunError, UsageError
from vidiff.metrics.cache import load_features, save_features
from vidiff.metrics.features import Extractor
from vidiff.metrics.frechet import block_jackknife, frechet_from_features
from vidiff.metrics.kernel import kernel_distance, nearest_distances
from vidiff.metrics.pixels import mean_pair_distance
from vidiff.metrics.prdc import prdc
from vidiff.metrics.protocol import CALLER_FIELDS, CODE_VERSION, PRDC, Protocol
from vidiff.metrics.resolve import Metric

# (ids, uint8 clips (B, C, T, H, W), ...): whatever follows the clips (labels) is ignored.
Batches = Iterable[tuple]
Gather = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Features:
    """Per-clip features of one set, sorted by id: `rows[extractor name]` float32 (N, F*D), and the clip shape."""

    def __init__(self, ids: Tensor, rows: dict[str, Tensor], shape: tuple[int, int, int]):
        self.ids, self.rows, self.shape = ids, rows, shape

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray | slice) -> Features:
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        return Features(self.ids[index], {k: v[index] for k, v in self.rows.items()}, self.shape)


def _alone(ids: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    return ids, features


class Evaluator:
    """Compare generated clips with real ones.

    The real side is computed once, kept, and with `cache` and `fingerprint` also stored on disk. Features are kept
    (N x D floats an extractor), clips never. Nothing draws from the global RNG; the result does not depend on batch
    size (beyond float32 rounding of the networks), on the order of the clips or on the number of processes.

        evaluator = Evaluator(
            resolve_metrics("auto", num_clips=256, num_frames=16),
            real=lambda: datamodule.eval_clips("train", num_clips=256, seed=0),
            held_out=lambda: datamodule.eval_clips("val", num_clips=256, seed=0),
            fields={"split": "train", "seed": 0, "frame_stride": 1},
        )
        results = evaluator.evaluate((ids, clips) for ids, clips in generated)
        results["fvd_random"]["value"]

    Args:
        metrics: from `resolve_metrics`.
        real: callable giving a fresh iterator of (ids, clips[, ...]): ids a sequence or int64 tensor (B,), clips uint8
            (B, C, T, H, W). On several processes it may yield this process's share or everything.
        held_out: the same for real clips disjoint from `real`: the floor is `real` against them. Without it the floor
            is one seeded half of `real` against the other, and the protocol says so.
        floor_rule: what `held_out` is, in words, for the protocol.
        train: the same for the training clips that `nearest` measures the distance to; default: `real`.
        fields: what the protocol says about the data: any of frame_stride, fps, split, subset, offset,
            decode, seed, dataset.
        device: where the extractors run.
        cache: folder for real features; used only together with `fingerprint`.
        fingerprint: names the content and choice of the clips that `real`, `held_out` and `train` yield (data set
            content, split, number, seed, frames, stride, resolution): equal fingerprints must mean equal clips.
        gather: `(ids (n,), rows (n, W)) -> the same of all processes`; pass `vidiff.metrics.gather_processes` under
            DDP (it does nothing on one process). All processes then return the same results.
        blocks: with blocks > 1 each result has "se", its block-jackknife standard error over the generated clips
            (costs that many further evaluations of the statistic; None where there are fewer than 2 clips a block).
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        real: Callable[[], Batches],
        *,
        held_out: Callable[[], Batches] | None = None,
        floor_rule: str = "real against held-out",
        train: Callable[[], Batches] | None = None,
        fields: Mapping | None = None,
        device: torch.device | str = "cpu",
        cache: str | Path | None = None,
        fingerprint: str | None = None,
        gather: Gather | None = None,
        blocks: int = 0,
    ):
        unknown = set(fields or {}) - set(CALLER_FIELDS)
        if unknown:
            raise UsageError(f"unknown protocol fields {sorted(unknown)}; accepted: {', '.join(CALLER_FIELDS)}")
        self.fields = dict(fields or {})
        for m in metrics:
            subset = self.fields.get("subset")
            if m.spec.subset == "prefix" and subset != "prefix":
                raise UsageError(f"{m.name} is defined on the first videos of the sorted list: give subset='prefix'")
            if m.spec.n and m.spec.subset is None and subset == "prefix":
                raise UsageError(f"{m.name} is defined on a seeded subset; for the prefix ask for {m.name}@sgv")
        self.metrics = list(metrics)
        self.device = torch.device(device)
        self.gather = gather or _alone
        self.blocks = blocks
        self.floor_rule = floor_rule
        self.cache = Path(cache) if cache is not None and fingerprint is not None else None
        self.fingerprint = fingerprint
        self._sources = {"real": real, "held_out": held_out, "train": train}
        self._sets: dict[str, Features] = {}
        self._floors: dict[tuple[str, int], tuple[float | None, str, int]] = {}
        self._prints: dict[str, tuple[float, ...]] = {}

    # Features

    def evaluate(self, fakes: Batches, expected: int | None = None) -> dict[str, dict]:
        """Score generated clips.

        Args:
            fakes: iterator of (ids, uint8 clips[, ...]), ids unique over all processes (sample i of the generator).
            expected: number of distinct clips over all processes; another number is an error.

        Returns:
            {metric name: {"value": float | None, "floor": float | None, "protocol": dict, "hash": str,
            "official": bool, "low_n": bool}}; ratios (motion, diversity) also "fake" and "real", with `blocks` also
            "se". `value` is None only for a ratio to a real side of exactly 0. `low_n`: fewer samples than features,
            so that bias dominates a Fréchet distance.

        Raises:
            UsageError: real and generated clips differ in frames or size, or a name promises another N or T.
            RunError: no clips, or not `expected` many.
        """
        real = self._set("real", self._extractors())
        fake = self._extract(fakes, self._extractors(), expected, "generated")
        if fake.shape != real.shape:
            raise UsageError(
                f"generated clips are (T, H, W) = {fake.shape}, real ones {real.shape}: metrics compare equal sizes"
            )
        scored: dict = {}
        return {m.name: self._result(m, real, fake, scored) for m in self.metrics}

    def prepare(self) -> None:
        """Compute (or load) the real side now, so that the first `evaluate` is not the slow one."""
        self._set("real", self._extractors())

    def _extractors(self) -> list[Extractor]:
        return list({m.extractor.name: m.extractor for m in self.metrics}.values())

    def _set(self, role: str, extractors: list[Extractor]) -> Features:
        """A real set's features: from memory, from the cache where every process has them, or extracted now."""
        known = self._sets.get(role)
        missing = [e for e in extractors if known is None or e.name not in known.rows]
        if not missing:
            return known
        loaded = {e.name: load_features(self.cache, self._header(role, e)) if self.cache else None for e in missing}
        hit = all(v is not None for v in loaded.values())
        # One process that reads while another extracts would wait for ever in the gather: all or none.
        one = torch.zeros(1, dtype=torch.int64)
        if bool(self.gather(one, torch.tensor([[float(hit)]]))[1].min()):
            ids, _, shape = next(iter(loaded.values()))
            new = Features(ids, {name: v[1] for name, v in loaded.items()}, shape)
        else:
            new = self._extract(self._sources[role](), missing, None, role.replace("_", "-"))
            for e in missing if self.cache else []:
                save_features(self.cache, self._header(role, e), new.ids, new.rows[e.name], new.shape)
        self._sets[role] = Features(new.ids, {**(known.rows if known else {}), **new.rows}, new.shape)
        return self._sets[role]

    def _header(self, role: str, extractor: Extractor) -> dict:
        return {
            "role": role,
            "fingerprint": self.fingerprint,
            "fields": self.fields,
            "extractor": extractor.name,
            "sha256": extractor.sha256,
            "resize": extractor.resize,
            "frames_per_clip": extractor.frames_per_clip,
            "code_version": CODE_VERSION,
        }

    def _extract(self, batches: Batches, extractors: list[Extractor], expected: int | None, what: str) -> Features:
        for e in extractors:
            e.to(self.device)
        ids, rows, shape = [], {e.name: [] for e in extractors}, (0, 0, 0)
        for batch_ids, clips, *_ in batches:
            batch_ids = torch.as_tensor(batch_ids, dtype=torch.int64).flatten().cpu()
            if len(batch_ids) != len(clips):
                raise ValueError(f"{what} clips: {len(batch_ids)} ids for {len(clips)} clips")
            if shape not in ((0, 0, 0), tuple(clips.shape[2:])):
                raise UsageError(f"{what} clips differ in (T, H, W): {shape} and {tuple(clips.shape[2:])}")
            shape = tuple(clips.shape[2:])
            clips = clips.to(self.device)
            ids.append(batch_ids)
            for e in extractors:
                rows[e.name].append(e(clips).cpu().reshape(len(batch_ids), -1))  # (B*F, D) -> (B, F*D)
        mine = torch.cat(ids) if ids else torch.zeros(0, dtype=torch.int64)
        shape_row = torch.tensor([shape], dtype=torch.float32)
        shapes = self.gather(torch.zeros(1, dtype=torch.int64), shape_row)[1]  # a process may have had no clips
        shape = tuple(int(v) for v in shapes.max(0).values)
        if any(tuple(int(v) for v in s) not in ((0, 0, 0), shape) for s in shapes):
            raise UsageError(f"{what} clips differ in (T, H, W) between processes: {shapes.int().tolist()}")
        merged: dict[str, Tensor] = {}
        unique = mine
        for e in extractors:
            part = torch.cat(rows[e.name]) if ids else torch.zeros(0, 0)
            all_ids, all_rows = self.gather(mine, part)
            # Sorted by id, the first of equal ids kept: padding samplers and overlapping shards change nothing.
            order = torch.argsort(all_ids, stable=True)
            all_ids = all_ids[order]
            keep = torch.ones(len(all_ids), dtype=torch.bool)
            keep[1:] = all_ids[1:] != all_ids[:-1]
            unique, merged[e.name] = all_ids[keep], all_rows[order][keep]
            if not torch.isfinite(merged[e.name]).all():
                raise RunError(f"{what} clips: features of {e.name} hold NaN or infinity")
        if len(unique) == 0:
            raise RunError(f"no {what} clips to evaluate")
        if expected is not None and len(unique) != expected:
            raise RunError(f"expected {expected} {what} clips with different ids, got {len(unique)}")
        return Features(unique, merged, shape)

    # Scores

    def _result(self, m: Metric, real: Features, fake: Features, scored: dict) -> dict:
        e, spec = m.extractor, m.spec
        if spec.n is not None and len(fake) != spec.n:
            raise UsageError(f"{m.name} is defined on {spec.n} generated clips, got {len(fake)}")
        if spec.num_frames is not None and fake.shape[0] != spec.num_frames:
            raise UsageError(f"{m.name} is defined on clips of {spec.num_frames} frames, got {fake.shape[0]}")
        reference = self._reference(m)
        out = self._score(m, reference, fake, scored)
        floor, rule, floor_n = self._floor(m, len(fake))
        frames = min(e.frames_per_clip, fake.shape[0]) if e.frames_per_clip else None
        protocol = Protocol(
            metric=m.name,
            score=spec.score,
            extractor=e.name,
            sha256=e.sha256,
            official=e.official,
            n_real=len(reference),
            n_fake=len(fake),
            num_frames=fake.shape[0],
            resolution=f"{fake.shape[1]}x{fake.shape[2]}",
            resize=e.resize,
            frames_per_clip=frames,
            ddof=spec.ddof,
            floor_rule=rule,
            floor_n=floor_n,
            trust=e.trust,
            fingerprint=self._fingerprint_of(e),
            **self.fields,
        )
        samples = min(len(reference), len(fake)) * (frames or 1)
        result = {
            **out,
            "floor": floor,
            "protocol": protocol.as_dict(),
            "hash": protocol.hash,
            "official": e.official,
            "low_n": spec.score == "frechet" and samples < e.dim,
        }
        if self.blocks > 1:
            result["se"] = self._standard_error(m, reference, fake)
        return result

    def _fingerprint_of(self, e: Extractor) -> tuple[float, ...] | None:
        if not e.official:
            return None
        if e.name not in self._prints:
            self._prints[e.name] = tuple(e.fingerprint())
        return self._prints[e.name]

    def _reference(self, m: Metric) -> Features:
        role = "train" if m.spec.score == "nearest" and self._sources["train"] else "real"
        return self._set(role, [m.extractor] if role == "train" else self._extractors())

    def _score(self, m: Metric, real: Features, fake: Features, scored: dict | None = None) -> dict:
        """{"value": ...} of one metric, with the two sides of a ratio beside it."""
        score, name = m.spec.score, m.extractor.name
        # One row a clip, except that a Fréchet or kernel distance takes every frame as a sample.
        a, b = real.rows[name], fake.rows[name]
        if score in ("frechet", "kernel"):
            a, b = a.reshape(-1, m.extractor.dim), b.reshape(-1, m.extractor.dim)  # (N*F, D)
            if min(len(a), len(b)) < 2:
                raise RunError(f"{m.name} needs at least 2 clips a side, got {len(real)} and {len(fake)}")
            value = frechet_from_features(a, b, m.spec.ddof) if score == "frechet" else kernel_distance(a, b)
            return {"value": value}
        if score in PRDC:
            scored = {} if scored is None else scored
            if ("prdc", name) not in scored:
                if min(len(a), len(b)) <= 5:
                    raise RunError(f"{m.name} (k=5) needs at least 6 clips a side, got {len(a)} and {len(b)}")
                scored["prdc", name] = prdc(a, b, k=5)
            return {"value": scored["prdc", name][score]}
        if score == "nearest":
            return {"value": float(nearest_distances(b, a).mean())}
        if score == "diversity":
            if min(len(a), len(b)) < 2:
                raise RunError(f"diversity needs at least 2 clips a side, got {len(a)} and {len(b)}")
            below, above = mean_pair_distance(a), mean_pair_distance(b)
        else:
            below, above = float(a.double().mean()), float(b.double().mean())
        if score == "mean":
            return {"value": above, "fake": above, "real": below}
        return {"value": above / below if below > 0 else None, "fake": above, "real": below}

    def _floor(self, m: Metric, n_fake: int) -> tuple[float | None, str, int]:
        """(floor, rule, clips): what a perfect generator would get: real against real clips that are not the same."""
        if (m.name, n_fake) not in self._floors:
            self._floors[m.name, n_fake] = self._compute_floor(m, n_fake)
        return self._floors[m.name, n_fake]

    def _compute_floor(self, m: Metric, n_fake: int) -> tuple[float | None, str, int]:
        reference = self._reference(m)
        if self._sources["held_out"] is not None:
            other = self._set("held_out", self._extractors())
            if other.shape != reference.shape:
                raise UsageError(f"held-out clips are (T, H, W) = {other.shape}, real ones {reference.shape}")
            index = np.random.Generator(np.random.PCG64(0)).permutation(len(other))[:n_fake]
            other, rule = other.take(np.sort(index)), self.floor_rule
        elif m.spec.score == "nearest":
            if len(reference) < 2:
                return None, "each real clip to its nearest other one", len(reference)
            rows = reference.rows[m.extractor.name]
            value = float(nearest_distances(rows, rows, exclude_self=True).mean())
            return value, "each real clip to its nearest other one", len(reference)
        else:
            order = np.random.Generator(np.random.PCG64(0)).permutation(len(reference))
            half = min(len(order) // 2, n_fake)
            other, reference = reference.take(order[:half]), reference.take(order[half : 2 * half])
            rule = "half of real against the other half"
        enough = {"frechet": 2, "kernel": 2, "diversity": 2, **dict.fromkeys(PRDC, 6)}.get(m.spec.score, 1)
        if min(len(reference), len(other)) < enough:
            return None, rule, len(other)
        return self._score(m, reference, other)["value"], rule, len(other)

    def _standard_error(self, m: Metric, real: Features, fake: Features) -> float | None:
        if len(fake) < 2 * self.blocks:
            return None
        rows = {m.extractor.name: fake.rows[m.extractor.name]}

        def statistic(kept: Tensor) -> float:
            part = Features(kept, {m.extractor.name: kept}, fake.shape)
            value = self._score(m, real, part)["value"]
            return float("nan") if value is None else value

        se = block_jackknife(rows[m.extractor.name], statistic, self.blocks)
        return se if np.isfinite(se) else None
