"""Bring (id, feature) rows of all processes together, also where they hold unequal numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gather_processes(ids: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of every process of the default group, in rank order; without a group, the rows themselves.

    Args:
        ids: int64 (n,); n may differ between processes and be 0.
        features: float (n, W) of one dtype everywhere; a process without rows may give any W.

    Returns:
        ids (N,) and features (N, W) on the CPU, the same on every process.
    """
    dist = torch.distributed
    ids, features = ids.cpu(), features.cpu()
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return ids, features
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    world = dist.get_world_size()
    mine = torch.tensor([len(ids), features.shape[1] if len(ids) else 0], device=device)
    sizes = [torch.zeros_like(mine) for _ in range(world)]
    dist.all_gather(sizes, mine)
    counts, width = [int(s[0]) for s in sizes], max(int(s[1]) for s in sizes)
    longest = max(counts)
    if longest == 0:
        return ids, features

    def everyone(rows: Tensor) -> Tensor:
        padded = torch.zeros(longest, *rows.shape[1:], dtype=rows.dtype, device=device)
        padded[: len(rows)] = rows.to(device)
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        return torch.cat([p[:n].cpu() for p, n in zip(parts, counts)])

    if len(ids) == 0:
        features = features.new_zeros(0, width)
    return everyone(ids), everyone(features)


def gathered_means(names: Sequence[str], table: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The mean of every column over the rows of all processes; NaN where no row has a value.

    Args:
        names: of the columns.
        table: (ids, rows) of each batch of this process, int64 (B,) and float (B, len(names)); NaN is no value.
    """
    ids = torch.cat([ids for ids, _ in table]) if table else torch.zeros(0, dtype=torch.int64)
    rows = torch.cat([rows for _, rows in table]) if table else torch.zeros(0, len(names))
    return dict(zip(names, gather_processes(ids, rows)[1].double().nanmean(0).tolist()))
