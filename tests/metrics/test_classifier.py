"""The classifier of domains learns what differs, and the same every time."""

from __future__ import annotations

import pytest
import torch

from vidiff.metrics.classifier import train_classifier


def test_classifier_learns_what_is_there_and_repeats():
    g = torch.Generator().manual_seed(1)
    dark = torch.randint(0, 120, (24, 3, 4, 16, 16), generator=g).to(torch.uint8)
    bright = torch.randint(100, 256, (24, 3, 4, 16, 16), generator=g).to(torch.uint8)
    network = train_classifier([dark[:12], bright[:12]], seed=3, steps=30)
    assert network.classify(dark[12:]).tolist() == [0] * 12 and network.classify(bright[12:]).tolist() == [1] * 12
    again = train_classifier([dark[:12], bright[:12]], seed=3, steps=30)
    assert torch.equal(network.head.weight, again.head.weight)
    same = train_classifier([dark[:12], dark[12:]], seed=3, steps=30)
    assert float((same.classify(dark) == 0).float().mean()) == pytest.approx(0.5, abs=0.5)
