"""Sampling without a model: ids, labels, modes, batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff import keyed
from vidiff.ema import GeneratorEMA
from vidiff.errors import UsageError
from vidiff.models.sampler import Sampler


class Flat(nn.Module):
    """A clip of one grey level; `level` is it."""

    def __init__(self, level: float = 0.0):
        super().__init__()
        self.level, self.drop = nn.Parameter(torch.tensor(level)), nn.Dropout(0.5)


def synthesize(network, ids, seed, label, num_frames):
    """Grey by level, id, seed and label."""
    assert not network.training and not torch.is_grad_enabled()
    grey = network.level + torch.tensor([i / 100 + seed / 10 for i in ids])
    grey = grey if label is None else grey + label / 1000
    return grey[:, None, None, None, None].expand(-1, 3, num_frames or 2, 4, 4)


def sampler(num_classes=None, measured=None, batch_norm=False):
    raw = Flat(0.5)
    if batch_norm:
        raw.norm = nn.BatchNorm3d(1)
    average = GeneratorEMA(raw)
    average.module.level.data.fill_(-0.5)
    note = (lambda network, ids: measured.append(ids)) if measured is not None else (lambda network, ids: None)
    return Sampler(synthesize, note, raw, average, 7, num_classes)


def grey(clips):
    return clips[:, 0, 0, 0, 0].tolist()


def test_the_average_or_the_raw_weights():
    made = sampler()
    clips = made.generate([0, 40], seed=2)
    assert clips.dtype == torch.uint8 and clips.shape == (2, 3, 2, 4, 4) and not clips.requires_grad
    assert grey(clips) == [89, 140] and grey(made.generate([0], seed=2, ema=False)) == [217]
    assert made.generate([0], num_frames=5).shape[2] == 5
    with pytest.raises(UsageError, match="num_frames must be at least 1"):
        made.generate([0], num_frames=0)


def test_modes_are_put_back():
    made = sampler()
    made.generator.train()
    with pytest.raises(KeyError), made.network(ema=False) as network:
        assert network is made.generator and not network.drop.training
        raise KeyError
    assert made.generator.training and made.generator.drop.training and torch.is_grad_enabled()


def test_labels_are_drawn_by_id_or_repeated():
    made = sampler(num_classes=5)
    drawn = made.labels(range(100), seed=3)
    assert torch.equal(drawn, keyed.integers(range(100), 5, 7, "label", 3)) and set(drawn.tolist()) == set(range(5))
    assert made.labels([0, 1, 5], labels=[4, 2]).tolist() == [4, 2, 2]
    assert sampler().labels([0]) is None
    for bad in ([5], [-1]):
        with pytest.raises(UsageError, match="from 0 to 4"):
            made.labels([0], labels=bad)
    with pytest.raises(UsageError, match="unconditional"):
        sampler().labels([0], labels=[0])


def test_batches_are_parts_of_the_whole():
    made = sampler(num_classes=3)
    parts = list(made.batches(made.generate, range(5), 2, 2, labels=[0, 1, 2]))
    assert [ids.tolist() for ids, _ in parts] == [[0, 1], [2, 3], [4]]
    assert torch.equal(torch.cat([clips for _, clips in parts]), made.generate(range(5), 2, labels=[0, 1, 2]))


def test_statistics_are_measured_once_for_the_same_weights():
    measured = []
    made = sampler(measured=measured, batch_norm=True)
    made.generate([0], ema=False)
    assert measured == []
    made.generate([0])
    first = len(measured)
    made.generate([1])
    assert first > 0 and len(measured) == first
