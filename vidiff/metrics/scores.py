"""The value of a metric as a function of the features of two sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from vidiff.errors import RunError
from vidiff.metrics.detectability import LEAST, detectability
from vidiff.metrics.feature_sets import Features
from vidiff.metrics.frechet import block_distances, frechet_from_features
from vidiff.metrics.infinity import SAMPLES_PER_FEATURE, frechet_infinity
from vidiff.metrics.kernel import kernel_distance, nearest_distances
from vidiff.metrics.pixels import mean_pair_distance
from vidiff.metrics.prdc import prdc
from vidiff.metrics.protocol import PRDC
from vidiff.metrics.resolve import Metric
from vidiff.metrics.sliced import sliced_wasserstein, wasserstein
from vidiff.metrics.uncertainty import jackknife

PRDC_K = 5  # neighbors
CLIPS_NEEDED = {
    "frechet": 2,
    "blocks": 2,
    "sliced": 2,
    "auroc": LEAST,
    "kernel": 2,
    "diversity": 2,
    **dict.fromkeys(PRDC, PRDC_K + 1),
}  # a side; else 1


def clips_needed(metric: Metric) -> int:
    """Clips a side without which there is no value."""
    if metric.spec.score == "infinity":
        return math.ceil(SAMPLES_PER_FEATURE * metric.extractor.dim)
    return CLIPS_NEEDED.get(metric.spec.score, 1)


def _of_blocks(metric: Metric, a: Tensor, b: Tensor) -> dict:
    parts = block_distances(a, b, metric.extractor.blocks, metric.spec.ddof)
    return {"value": sum(parts.values()), "parts": parts}


STATISTICS: dict[str, Callable[[Metric, Tensor, Tensor], dict]] = {
    "blocks": _of_blocks,
    "sliced": lambda metric, a, b: {"value": sliced_wasserstein(a, b)},
    "wasserstein": lambda metric, a, b: {"value": wasserstein(a, b)},
    "infinity": lambda metric, a, b: frechet_infinity(a, b, metric.spec.ddof),
    "auroc": lambda metric, a, b: detectability(a, b),
}


def score(metric: Metric, real: Features, fake: Features, shared: dict | None = None) -> dict:
    """{"value": ...} of one metric, with the two sides of a ratio beside it.

    Args:
        shared: what several metrics of one evaluation have in common; filled here.
    """
    kind, name = metric.spec.score, metric.extractor.name
    a, b = real.rows[name], fake.rows[name]  # one row a clip
    if kind in ("frechet", "kernel"):
        return {"value": _distance(metric, a, b, (len(real), len(fake)))}
    if kind in STATISTICS:
        if min(len(a), len(b)) < (least := clips_needed(metric)):
            raise RunError(f"{metric.name} needs at least {least} clips a side, got {len(a)} and {len(b)}")
        return STATISTICS[kind](metric, a, b)
    if kind in PRDC:
        shared = {} if shared is None else shared
        if ("prdc", name) not in shared:
            if min(len(a), len(b)) <= PRDC_K:
                raise RunError(
                    f"{metric.name} (k={PRDC_K}) needs at least {PRDC_K + 1} clips a side, got {len(a)} and {len(b)}"
                )
            shared["prdc", name] = prdc(a, b, k=PRDC_K)
        return {"value": shared["prdc", name][kind]}
    if kind == "nearest":
        return {"value": float(nearest_distances(b, a).mean())}
    if kind == "share":
        return {"value": float(b[:, 0].double().mean()), "parts": metric.extractor.parts(b)}
    if kind == "diversity":
        if min(len(a), len(b)) < 2:
            raise RunError(f"diversity needs at least 2 clips a side, got {len(a)} and {len(b)}")
        below, above = mean_pair_distance(a), mean_pair_distance(b)
    else:
        below, above = float(a.double().mean()), float(b.double().mean())
    if kind == "mean":
        return {"value": above, "fake": above, "real": below}
    return {"value": above / below if below > 0 else None, "fake": above, "real": below}


def _distance(metric: Metric, a: Tensor, b: Tensor, clips: tuple[int, int]) -> float:
    """A Fréchet or kernel distance, which takes every frame as a sample."""
    a, b = a.reshape(-1, metric.extractor.dim), b.reshape(-1, metric.extractor.dim)  # (N*F, D)
    if min(len(a), len(b)) < 2:
        raise RunError(f"{metric.name} needs at least 2 clips a side, got {clips[0]} and {clips[1]}")
    return frechet_from_features(a, b, metric.spec.ddof) if metric.spec.score == "frechet" else kernel_distance(a, b)


def distance_of(metric: Metric) -> Callable[[Tensor, Tensor], float]:
    """The metric's value as a function of the features of real and of generated clips; NaN where it has none."""

    def statistic(a: Tensor, b: Tensor) -> float:
        sides = (Features(rows, {metric.extractor.name: rows}, (0, 0, 0)) for rows in (a, b))
        value = score(metric, *sides)["value"]
        return float("nan") if value is None else value

    return statistic


def standard_error(
    metric: Metric, real: Features, fake: Features, blocks: int, videos: Sequence[int] | None = None
) -> float | None:
    """Jackknife standard error over the clips of both sides, see `vidiff.metrics.uncertainty`.

    None where a side has fewer than 2 clips a block or a single video, and of what is no mean over clips or smooth
    function of them.
    The training clips that `nearest` is measured against are no sample of others: of it the generated side alone.

    Args:
        blocks: of a side; as many as there are videos, where these are fewer.
        videos: the source video of each real clip.
    """
    # The area under the curve comes with an interval.
    if min(len(real), len(fake)) < 2 * blocks or metric.spec.score in ("infinity", "auroc", "memorized"):
        return None
    statistic = distance_of(metric)
    a, b = (side.rows[metric.extractor.name] for side in (real, fake))
    errors = [jackknife(b, lambda kept: statistic(a, kept), None, blocks, seed=1)]
    if metric.spec.score != "nearest":
        groups = min(blocks, len(a if videos is None else set(videos)))
        if groups < 2:
            return None
        errors.append(jackknife(a, lambda kept: statistic(kept, b), videos, groups))
    se = math.hypot(*errors)
    return se if np.isfinite(se) else None
