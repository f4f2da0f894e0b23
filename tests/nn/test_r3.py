"""R3GAN's networks: sizes, and players of a size."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import count_parameters
from vidiff.nn.r3 import R3Discriminator, R3Generator


@pytest.mark.parametrize("frames, resolution", [(1, 16), (5, 16), (7, 32), (16, 32)])
def test_sizes(frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=4, latent_dim=4, num_classes=2)
    label = torch.tensor([0, 1])
    clip = R3Generator(spec)(torch.randn(2, 4), label)
    assert clip.shape == (2, 3, frames, resolution, resolution)
    assert 0.05 < float(clip.detach().std()) < 0.5  # neither grey nor saturated before training
    d = R3Discriminator(spec)
    logits = d(clip, label)
    assert logits.shape == (2,)
    assert not torch.equal(logits, d(clip, 1 - label))


def test_players_are_of_a_size():
    spec = ClipSpec()
    ratio = count_parameters(R3Generator(spec)) / count_parameters(R3Discriminator(spec))
    assert 0.8 < ratio < 1.25
