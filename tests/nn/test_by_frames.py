"""Generators a frame at a time give what they give a clip at a time."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import count_parameters
from vidiff.nn.by_frames import frame_by_frame, through
from vidiff.nn.circular import make_circular
from vidiff.nn.clip_layers import ClipConv
from vidiff.nn.resnet import ResnetGenerator, StarGenerator

SPEC = ClipSpec(num_frames=5, resolution=16, width=5, num_classes=3)
KINDS = {
    "published": dict(padding="reflect"),
    "full": dict(conv="full"),
    "skip": dict(skip=True, up="resize"),
    "frame": dict(norm="frame", padding="zeros"),
    "none": dict(norm="none"),
    "temporal": dict(temporal="conv"),
    "attention": dict(attention="both", up="resize"),
}


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """Every weight matters: none is where it begins."""
    torch.manual_seed(0)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.3)
    return network.double().eval()


def both(network: torch.nn.Module, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What it gives a clip at a time and a frame at a time, which leaves the input alone."""
    before = [x.clone() for x in inputs]
    with torch.no_grad():
        whole = network(*inputs)
        with frame_by_frame(network):
            frames = network(*inputs)
        assert torch.equal(network(*inputs), whole)  # as before, once the block is left
    assert all(torch.equal(a, b) for a, b in zip(inputs, before))
    return whole, frames


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 24), (2, 3, 1, 12, 8)], ids=["clip", "two frames"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_of_clips(kind, shape):
    network = filled(ResnetGenerator(SPEC, blocks=2, **KINDS[kind]))
    whole, frames = both(network, torch.rand(shape, dtype=torch.float64) * 2 - 1)
    torch.testing.assert_close(frames, whole, rtol=0, atol=1e-11)
    assert whole.std() > 0.1 and count_parameters(network) > 1000


def test_one_of_several_domains_has_scaled_norms():
    network = filled(StarGenerator(SPEC, blocks=1, padding="zeros"))
    clip = torch.rand(2, 3, 4, 16, 16, dtype=torch.float64)
    whole, frames = both(network, clip, torch.tensor([0, 2]))
    torch.testing.assert_close(frames, whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("up", ["transposed", "resize"])
def test_one_that_looks_all_around(up):
    network = make_circular(filled(ResnetGenerator(SPEC, blocks=1, up=up)))
    whole, frames = both(network, torch.rand(1, 3, 5, 16, 32, dtype=torch.float64))
    torch.testing.assert_close(frames, whole, rtol=0, atol=1e-11)


def test_a_norm_far_from_zero_loses_nothing():
    """Mean 1000, deviation 1, in float32: the mean of squares would have no digit left."""
    layers = torch.nn.Sequential(ClipConv(1, 1, 1, time=1), torch.nn.InstanceNorm3d(1))
    torch.nn.init.ones_(layers[0].space.weight), torch.nn.init.zeros_(layers[0].space.bias)
    clip = 1000 + torch.randn(1, 1, 6, 32, 32)
    with torch.no_grad():
        exact = layers.double()(clip.double())
        torch.testing.assert_close(through(layers.float(), clip).double(), exact, rtol=0, atol=1e-3)
