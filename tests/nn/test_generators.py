"""The convolutional generator and its mirror: sizes, published channels, conditioning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 16, 33, 64])
@pytest.mark.parametrize("resolution", [16, 32])
def test_sizes(frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=2, latent_dim=4)
    clip = ConvGenerator(spec)(torch.randn(2, 4))
    assert clip.shape == (2, 3, frames, resolution, resolution) and clip.abs().max() <= 1
    assert ConvDiscriminator(spec)(clip).shape == (2,)


@pytest.mark.parametrize("resolution, channels", [(64, 3), (128, 1)])
def test_large_sizes_and_grey(resolution, channels):
    spec = ClipSpec(channels, 2, resolution, width=1, latent_dim=4)
    clip = ConvGenerator(spec)(torch.randn(2, 4))
    assert clip.shape == (2, channels, 2, resolution, resolution)
    assert ConvDiscriminator(spec)(clip).shape == (2,)


def test_published_dcgan_channels():
    """At 64x64 and width 64 the channels are DCGAN's 512, 256, 128, 64."""
    g = ConvGenerator(ClipSpec(3, 16, 64, width=64))
    convs = [m for m in g.modules() if isinstance(m, nn.ConvTranspose3d)]
    assert [m.out_channels for m in convs] == [512, 256, 128, 64, 3]


@pytest.mark.parametrize("bad", [dict(num_frames=0), dict(num_frames=65), dict(resolution=48)])
def test_bad_sizes(bad):
    with pytest.raises(ValueError):
        ConvGenerator(ClipSpec(**bad))


def test_labels_change_the_output_and_are_required():
    spec = ClipSpec(3, 4, 16, width=2, latent_dim=4, num_classes=3)
    g, d = ConvGenerator(spec).eval(), ConvDiscriminator(spec).eval()
    z = torch.randn(1, 4)
    clips = [g(z, torch.tensor([k])) for k in range(3)]
    assert not torch.allclose(clips[0], clips[1])
    assert d(clips[0], torch.tensor([0])) != d(clips[0], torch.tensor([1]))
    with pytest.raises(ValueError, match="conditional"):
        g(z)
