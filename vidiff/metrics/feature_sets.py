"""Features of a set of clips: extracted batch by batch, brought together from all processes, sorted by id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from vidiff.errors import RunError, UsageError
from vidiff.metrics.features import Extractor

# (ids, uint8 clips (B, C, T, H, W), ...): whatever follows the clips (labels) is ignored.
Batches = Iterable[tuple]
Gather = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
NO_SHAPE = (0, 0, 0)  # of a process that had no clips


class Features:
    """Per-clip features of one set, sorted by id: `rows[extractor name]` float32 (N, F*D), and the clip shape."""

    def __init__(self, ids: Tensor, rows: dict[str, Tensor], shape: tuple[int, int, int]):
        self.ids, self.rows, self.shape = ids, rows, shape

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray | slice) -> Features:
        """The clips at these positions."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        return Features(self.ids[index], {k: v[index] for k, v in self.rows.items()}, self.shape)


def one_process(ids: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """The `Gather` of a process without others."""
    return ids, features


def extract_features(
    batches: Batches,
    extractors: Sequence[Extractor],
    what: str,
    *,
    device: torch.device | str = "cpu",
    gather: Gather = one_process,
    expected: int | None = None,
) -> Features:
    """Run extractors over a set of clips.

    Args:
        batches: this process's share of the set, see `Batches`.
        what: the set in a word, for messages.
        device: where the extractors run.
        gather: see `vidiff.metrics.evaluator.Evaluator`.
        expected: number of distinct clips over all processes; another number is an error.

    Raises:
        UsageError: the clips differ in frames or size.
        RunError: no clips, not `expected` many, or features that are not finite.
    """
    ids, rows, shape = _of_this_process(batches, extractors, what, device)
    shape = _common_shape(shape, gather, what)
    merged: dict[str, Tensor] = {}
    unique = ids
    for e in extractors:
        unique, merged[e.name] = _without_repeats(*gather(ids, rows[e.name]))
        if not torch.isfinite(merged[e.name]).all():
            raise RunError(f"{what} clips: features of {e.name} hold NaN or infinity")
    if len(unique) == 0:
        raise RunError(f"no {what} clips to evaluate")
    if expected is not None and len(unique) != expected:
        raise RunError(f"expected {expected} {what} clips with different ids, got {len(unique)}")
    return Features(unique, merged, shape)


def _of_this_process(
    batches: Batches, extractors: Sequence[Extractor], what: str, device: torch.device | str
) -> tuple[Tensor, dict[str, Tensor], tuple[int, int, int]]:
    """ids (n,), rows (n, F*D) of each extractor and (T, H, W), in the order of the batches."""
    for e in extractors:
        e.to(device)
    ids, rows, shape = [], {e.name: [] for e in extractors}, NO_SHAPE
    for batch_ids, clips, *_ in batches:
        batch_ids = torch.as_tensor(batch_ids, dtype=torch.int64).flatten().cpu()
        if len(batch_ids) != len(clips):
            raise ValueError(f"{what} clips: {len(batch_ids)} ids for {len(clips)} clips")
        if shape not in (NO_SHAPE, tuple(clips.shape[2:])):
            raise UsageError(f"{what} clips differ in (T, H, W): {shape} and {tuple(clips.shape[2:])}")
        shape = tuple(clips.shape[2:])
        clips = clips.to(device)
        ids.append(batch_ids)
        for e in extractors:
            rows[e.name].append(e(clips).cpu().reshape(len(batch_ids), -1))  # (B*F, D) -> (B, F*D)
    if not ids:
        return torch.zeros(0, dtype=torch.int64), {name: torch.zeros(0, 0) for name in rows}, shape
    return torch.cat(ids), {name: torch.cat(parts) for name, parts in rows.items()}, shape


def _common_shape(shape: tuple[int, int, int], gather: Gather, what: str) -> tuple[int, int, int]:
    """(T, H, W) of all processes; one of them may have had no clips."""
    row = torch.tensor([shape], dtype=torch.float32)
    shapes = gather(torch.zeros(1, dtype=torch.int64), row)[1]
    common = tuple(int(v) for v in shapes.max(0).values)
    if any(tuple(int(v) for v in s) not in (NO_SHAPE, common) for s in shapes):
        raise UsageError(f"{what} clips differ in (T, H, W) between processes: {shapes.int().tolist()}")
    return common


def _without_repeats(ids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted by id, the first of equal ids kept: padding samplers and overlapping shards change nothing."""
    order = torch.argsort(ids, stable=True)
    ids = ids[order]
    keep = torch.ones(len(ids), dtype=torch.bool)
    keep[1:] = ids[1:] != ids[:-1]
    return ids[keep], rows[order][keep]
