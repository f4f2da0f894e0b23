"""The one place where metrics are computed: by the training callback, the benchmark and `vidiff evaluate` alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidiff.errors import UsageError
from vidiff.metrics.feature_sets import Batches, Features, Gather, extract_features, one_process
from vidiff.metrics.features import Extractor
from vidiff.metrics.kernel import memorized, nearest_distances
from vidiff.metrics.protocol import CALLER_FIELDS, CODE_VERSION, Protocol
from vidiff.metrics.resolve import Metric
from vidiff.metrics.scores import clips_needed, distance_of, score, standard_error
from vidiff.metrics.stored import load_features, save_features
from vidiff.metrics.uncertainty import Difference, permutation_test
from vidiff.progress import track

PERMUTED = ("frechet", "kernel", "blocks", "sliced")  # scores that are distances
MOST_PERMUTED = 512  # features: 2,000 Fréchet distances of wider ones take hours


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
        train: the same for the training clips that `nearest` and `memorized` measure the distance to; default: `real`.
        unseen: the same for real clips that no model was trained on: what `detectability` compares with (default:
            `real`), and what `memorized` cannot do without.
        fields: what the protocol says about the data: any of frame_stride, fps, split, subset, offset,
            decode, seed, dataset.
        device: where the extractors run.
        cache: folder for real features; used only together with `fingerprint`.
        fingerprint: names the content and choice of the clips that `real`, `held_out` and `train` yield (data set
            content, split, number, seed, frames, stride, resolution): equal fingerprints must mean equal clips.
        gather: `(ids (n,), rows (n, W)) -> the same of all processes`; pass `vidiff.metrics.gather_processes` under
            DDP (it does nothing on one process). All processes then return the same results.
        blocks: with blocks > 1 each result has "se", its block-jackknife standard error over the clips of both sides
            (twice as many further evaluations of the statistic; None where there are fewer than 2 clips a block).
        real_videos: the source video of each clip of `real`, in the order of the ids: clips of one video are no
            independent samples, and stay in one block. None: every clip is of its own.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        real: Callable[[], Batches],
        *,
        held_out: Callable[[], Batches] | None = None,
        floor_rule: str = "real against held-out",
        train: Callable[[], Batches] | None = None,
        unseen: Callable[[], Batches] | None = None,
        fields: Mapping | None = None,
        device: torch.device | str = "cpu",
        cache: str | Path | None = None,
        fingerprint: str | None = None,
        gather: Gather | None = None,
        blocks: int = 0,
        real_videos: Sequence[int] | None = None,
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
        self.gather = gather or one_process
        self.blocks, self.real_videos = blocks, real_videos
        self.floor_rule = floor_rule
        self.cache = Path(cache) if cache is not None and fingerprint is not None else None
        self.fingerprint = fingerprint
        self._sources = {"real": real, "held_out": held_out, "train": train, "unseen": unseen}
        if unseen is None and any(m.spec.score == "memorized" for m in metrics):
            raise UsageError("memorized needs real videos that were not trained on: a split `val` beside `train`")
        self._sets: dict[str, Features] = {}
        self._floors: dict[tuple[str, int], tuple[float | None, str, int]] = {}
        self._prints: dict[str, tuple[float, ...]] = {}

    def evaluate(self, fakes: Batches, expected: int | None = None) -> dict[str, dict]:
        """Score generated clips.

        Args:
            fakes: iterator of (ids, uint8 clips[, ...]), ids unique over all processes (sample i of the generator).
            expected: number of distinct clips over all processes; another number is an error.

        Returns:
            {metric name: {"value": float | None, "floor": float | None, "protocol": dict, "hash": str,
            "official": bool, "low_n": bool}}; ratios (motion, diversity) also "fake" and "real", `recognizable` also
            "parts", as `clip_distance` its blocks, with `blocks` also "se". `value` is None only for a ratio to a real
            side of exactly 0. `low_n`:
            fewer samples than features, so that bias dominates a Fréchet distance.

        Raises:
            UsageError: real and generated clips differ in frames or size, or a name promises another N or T.
            RunError: no clips, or not `expected` many.
        """
        real = self._set("real", self._extractors())
        where = dict(device=self.device, gather=self.gather)
        fake = extract_features(fakes, self._extractors(), "generated", expected=expected, **where)
        if fake.shape != real.shape:
            raise UsageError(
                f"generated clips are (T, H, W) = {fake.shape}, real ones {real.shape}: metrics compare equal sizes"
            )
        shared: dict = {}
        return {m.name: self._result(m, real, fake, shared) for m in self.metrics}

    def differences(self, first: Batches, second: Batches) -> dict[str, Difference]:
        """Whether two sets of clips of the same latents differ, by each distance: see `permutation_test`.

        Args:
            first, second: as in `evaluate`; equal ids are of the same latent.

        Raises:
            UsageError: the sets differ in ids or in size.
        """
        tested = [m for m in self.metrics if m.spec.score in PERMUTED and m.extractor.widest <= MOST_PERMUTED]
        extractors = list({m.extractor.name: m.extractor for m in tested}.values())
        real = self._set("real", self._extractors())
        where = dict(device=self.device, gather=self.gather)
        a, b = (extract_features(clips, extractors, "generated", **where) for clips in (first, second))
        if a.ids.tolist() != b.ids.tolist() or not a.shape == b.shape == real.shape:
            raise UsageError(f"the sets differ: {len(a)} clips of {a.shape}, {len(b)} of {b.shape}, real {real.shape}")
        return {
            m.name: permutation_test(*(side.rows[m.extractor.name] for side in (real, a, b)), distance_of(m))
            for m in track(tested, "permutation tests")
        }

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
            where = dict(device=self.device, gather=self.gather)
            new = extract_features(self._sources[role](), missing, role.replace("_", "-"), **where)
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

    def _result(self, m: Metric, real: Features, fake: Features, shared: dict) -> dict:
        e, spec = m.extractor, m.spec
        if spec.n is not None and len(fake) != spec.n:
            raise UsageError(f"{m.name} is defined on {spec.n} generated clips, got {len(fake)}")
        if spec.num_frames is not None and fake.shape[0] != spec.num_frames:
            raise UsageError(f"{m.name} is defined on clips of {spec.num_frames} frames, got {fake.shape[0]}")
        reference = self._reference(m)
        if spec.score == "memorized":
            sides = [side.rows[e.name] for side in (reference, self._set("unseen", [e]), fake)]
            values = {"value": memorized(*sides)}
        else:
            values = score(m, reference, fake, shared)
        if (m.name, len(fake)) not in self._floors:
            self._floors[m.name, len(fake)] = self._floor(m, len(fake))
        floor, rule, floor_n = self._floors[m.name, len(fake)]
        protocol = self._protocol(m, len(reference), fake, floor_rule=rule, floor_n=floor_n)
        samples = min(len(reference), len(fake)) * (protocol.frames_per_clip or 1)
        result = {
            **values,
            "floor": floor,
            "protocol": protocol.as_dict(),
            "hash": protocol.hash,
            "official": e.official,
            "low_n": spec.score in ("frechet", "blocks") and samples < e.widest,
        }
        if self.blocks > 1:
            result["se"] = standard_error(m, reference, fake, self.blocks, self.real_videos)
        return result

    def _protocol(self, m: Metric, n_real: int, fake: Features, **unhashed: Any) -> Protocol:
        e, (num_frames, height, width) = m.extractor, fake.shape
        if e.official and e.name not in self._prints:
            self._prints[e.name] = tuple(e.fingerprint())
        return Protocol(
            metric=m.name,
            score=m.spec.score,
            extractor=e.name,
            sha256=e.sha256,
            official=e.official,
            n_real=n_real,
            n_fake=len(fake),
            num_frames=num_frames,
            resolution=f"{height}x{width}",
            resize=e.resize,
            frames_per_clip=min(e.frames_per_clip, num_frames) if e.frames_per_clip else None,
            ddof=m.spec.ddof,
            trust=e.trust,
            fingerprint=self._prints.get(e.name),
            **unhashed,
            **self.fields | ({"split": "unseen"} if self._role(m) == "unseen" else {}),
        )

    def _role(self, m: Metric) -> str:
        """Which real clips a metric compares with."""
        role = {"nearest": "train", "memorized": "train", "auroc": "unseen"}.get(m.spec.score, "real")
        return role if self._sources[role] else "real"

    def _reference(self, m: Metric) -> Features:
        role = self._role(m)
        return self._set(role, self._extractors() if role == "real" else [m.extractor])

    def _floor(self, m: Metric, n_fake: int) -> tuple[float | None, str, int]:
        """(floor, rule, clips): what a perfect generator would get: real against real clips that are not the same."""
        reference = self._reference(m)
        if m.spec.score == "memorized":
            return 0.5, "as near to unseen clips as to training clips", n_fake
        if m.spec.score == "nearest" and self._sources["held_out"] is None:
            rows, rule = reference.rows[m.extractor.name], "each real clip to its nearest other one"
            value = float(nearest_distances(rows, rows, exclude_self=True).mean()) if len(rows) > 1 else None
            return value, rule, len(reference)
        reference, other, rule = self._floor_sides(reference, n_fake)
        if min(len(reference), len(other)) < clips_needed(m):
            return None, rule, len(other)
        return score(m, reference, other)["value"], rule, len(other)

    def _floor_sides(self, reference: Features, n_fake: int) -> tuple[Features, Features, str]:
        """The reference, or a half of it, at most `n_fake` real clips that are not in it, and what they are."""
        seeded = np.random.Generator(np.random.PCG64(0))
        if self._sources["held_out"] is not None:
            other = self._set("held_out", self._extractors())
            if other.shape != reference.shape:
                raise UsageError(f"held-out clips are (T, H, W) = {other.shape}, real ones {reference.shape}")
            return reference, other.take(np.sort(seeded.permutation(len(other))[:n_fake])), self.floor_rule
        order = seeded.permutation(len(reference))
        half = min(len(order) // 2, n_fake)
        rule = "half of real against the other half"
        return reference.take(order[half : 2 * half]), reference.take(order[:half]), rule
