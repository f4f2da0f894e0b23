"""BatchNorm's statistics of an average: the same whatever number of clips fits into memory."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY
from torch import nn

from vidiff.ema import standing_statistics
from vidiff.models.dcgan import DCGAN


class Shared(nn.Module):
    """One BatchNorm layer that is used twice, and one that is used once."""

    def __init__(self):
        super().__init__()
        self.lead, self.again, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.last(self.again(self.again(self.lead(x)).tanh()))


def statistics(make, forward, batch_size: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = make().double().eval()
    assert standing_statistics(network, forward, batch_size)
    assert not network.training and not any("forward" in vars(m) for m in network.modules())
    return [b.double() for b in network.buffers()]


@pytest.mark.parametrize("batch_size", [1, 5, 31])
def test_parts_give_the_statistics_of_the_whole(batch_size):
    data = torch.randn(256, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = DCGAN(**TINY).double()
    cases = [
        (Shared, lambda network, ids: network(data[ids.start : ids.stop])),
        (lambda: DCGAN(**TINY).generator, model.statistics_batch),
    ]
    for make, forward in cases[: 1 if batch_size == 1 else 2]:
        sizes = []
        count = lambda network, ids: (sizes.append(len(ids)), forward(network, ids))  # noqa: E731, B023
        whole, parts = statistics(make, forward, 32), statistics(make, count, batch_size)
        assert max(sizes) == batch_size
        assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(whole, parts, strict=True))
