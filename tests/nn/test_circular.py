"""Networks that look all around: a roll of the input is a roll of the output, whatever layer it goes through."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.nn.circular import make_circular
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.layered import LayeredGenerator
from vidiff.nn.resnet import ResnetGenerator
from vidiff.nn.restorer import ResidualRestorer

SPEC = ClipSpec(num_frames=4, resolution=16, width=4, latent_dim=8, projection="equirectangular")
LAYERS = {
    "conv": (nn.Conv3d(2, 3, 3, padding=1), 1),
    "strided": (nn.Conv3d(2, 3, (3, 4, 4), (1, 2, 2), 1), 2),
    "picture": (nn.Conv2d(2, 3, 5, padding=2), 1),
    "grouped": (nn.Conv3d(2, 4, 3, padding=1, groups=2), 1),
    "transposed": (nn.ConvTranspose3d(2, 3, (1, 3, 3), (1, 2, 2), (0, 1, 1), (0, 1, 1)), 1),
    "transposed 4": (nn.ConvTranspose3d(2, 3, 4, 2, 1), 1),
    "reflected": (nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(2, 3, 5)), 1),
    "spectral": (nn.utils.parametrizations.spectral_norm(nn.Conv3d(2, 3, 3, padding=1)), 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_rolls(name):
    layer, stride = copy.deepcopy(LAYERS[name])
    flat = copy.deepcopy(layer).double().eval()
    layer = make_circular(nn.Sequential(layer)).double().eval()
    make_circular(layer)  # twice is once
    sides = (8, 16) if "picture" in name or "reflected" in name else (4, 8, 16)
    x = torch.randn(1, 2, *sides, dtype=torch.float64)
    y, factor = layer(x), layer(x).shape[-1] / 16
    rolled = layer(x.roll(2 * stride, -1))
    assert torch.allclose(rolled, y.roll(int(2 * stride * factor), -1), atol=1e-12)
    assert y.shape == flat(x).shape and not torch.allclose(flat(x), y)
    inner = slice(4, y.shape[-1] - 4)
    assert torch.allclose(flat(x)[..., inner], y[..., inner], atol=1e-12)  # away from the seam nothing has changed


@pytest.mark.parametrize("build", [
    lambda: ResnetGenerator(SPEC, 1),
    lambda: ResnetGenerator(SPEC, 1, padding="reflect", up="resize", skip=True),
    lambda: ResnetGenerator(SPEC, 1, padding="zeros", temporal="convlstm", attention="space"),
    lambda: ResidualRestorer(SPEC, 1),
])  # fmt: skip
def test_a_network_rolls(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build().double().eval()
        for p in network.parameters():
            nn.init.normal_(p, 0.0, 0.2)
        x = torch.randn(1, 3, 4, 16, 32, dtype=torch.float64)
    flat = copy.deepcopy(network)
    make_circular(network)
    y = network(x)
    assert torch.allclose(network(x.roll(8, -1)), y.roll(8, -1), atol=1e-9) and y.std() > 1e-3
    assert not torch.allclose(flat(x.roll(8, -1)), flat(x).roll(8, -1), atol=1e-3)
    assert list(network.state_dict()) == list(flat.state_dict())


def test_generators_and_discriminators_of_clips_are_twice_as_wide():
    generator, discriminator = make_circular(ConvGenerator(SPEC)), make_circular(ConvDiscriminator(SPEC))
    clip = generator(torch.randn(2, 8))
    assert clip.shape == (2, 3, 4, 16, 32) and discriminator(clip).shape == (2,)


def test_copies_are_circular_too_and_a_flat_scene_is_refused():
    layer = copy.deepcopy(make_circular(nn.Sequential(nn.Conv3d(1, 1, 3, padding=1))))
    x = torch.randn(1, 1, 3, 4, 8)
    assert torch.allclose(layer(x.roll(3, -1)), layer(x).roll(3, -1), atol=1e-5)
    with pytest.raises(UsageError, match="LayeredGenerator places things in a flat picture"):
        make_circular(LayeredGenerator(SPEC))
