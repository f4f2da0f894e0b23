"""Rows of all processes, also where they hold unequal numbers of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidiff.metrics import FrechetVideoDistance
from vidiff.metrics.gather import gather_processes, gathered_means


def clips(n, seed, low=0, high=256, size=16, frames=4):
    g = torch.Generator().manual_seed(seed)
    ground = torch.randint(low, high, (n, 3, 1, size, size), generator=g)
    steps = torch.randint(-20, 21, (n, 3, frames, size, size), generator=g)
    return (ground + steps).clamp(0, 255).to(torch.uint8)


def _gather_in_a_group(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3)
    ids = torch.tensor([[0, 3, 5], [], [4]][rank], dtype=torch.int64)
    rows = torch.stack([ids * 1.5, ids * 2.0], 1) if len(ids) else torch.zeros(0, 0)
    out = gather_processes(ids, rows)
    np.savez(f"{folder}/{rank}.npz", ids=out[0].numpy(), rows=out[1].numpy())
    fvd = FrechetVideoDistance()
    for real in (True, False):
        part = clips(9, int(real))[[slice(0, 4), slice(4, 5), slice(5, 9)][rank]]
        fvd.update(part, real=real)
    np.savez(f"{folder}/fvd{rank}.npz", value=fvd.compute().numpy())
    torch.distributed.destroy_process_group()


def test_gather_and_torchmetrics_over_processes(tmp_path):
    context = torch.multiprocessing.get_context("fork")
    workers = [context.Process(target=_gather_in_a_group, args=(r, str(tmp_path))) for r in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(120)
        assert w.exitcode == 0
    one = FrechetVideoDistance()
    one.update(clips(9, 1), real=True)
    one.update(clips(9, 0), real=False)
    for rank in range(3):
        with np.load(tmp_path / f"{rank}.npz") as data:
            assert data["ids"].tolist() == [0, 3, 5, 4]
            np.testing.assert_allclose(data["rows"][:, 1], [0, 6, 10, 8])
        with np.load(tmp_path / f"fvd{rank}.npz") as data:
            assert float(data["value"]) == pytest.approx(one.compute().item(), rel=1e-4)


def test_gather_alone_changes_nothing():
    ids, rows = gather_processes(torch.tensor([2, 1]), torch.ones(2, 3))
    assert ids.tolist() == [2, 1] and rows.shape == (2, 3)


def test_means_are_over_the_rows_of_all_batches_that_have_a_value():
    nan = float("nan")
    table = [
        (torch.tensor([0, 1]), torch.tensor([[1.0, nan, nan], [2.0, 5.0, nan]])),
        (torch.tensor([2]), torch.tensor([[6.0, 8.0, nan]])),
    ]
    found = gathered_means(("a", "b", "c"), table)
    assert list(found) == ["a", "b", "c"] and found["a"] == 3 and found["b"] == 6.5 and np.isnan(found["c"])
    assert all(np.isnan(value) for value in gathered_means(("a", "b"), []).values())
