"""The restorer: begins as the identity, sees what its radius says, and squares become places and come back."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.inference.tiles import space_radius
from vidiff.nn.resnet import has_clip_statistics, time_radius
from vidiff.nn.restorer import DepthToSpace, FeaturePatchDiscriminator, ResidualRestorer, SpaceToDepth

SPEC = ClipSpec(num_frames=4, resolution=16, width=4)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_squares_become_places_as_in_torch(factor):
    x = torch.randn(2, 3, 5, 8, 12)
    y = SpaceToDepth(factor)(x)
    frames = torch.nn.functional.pixel_unshuffle(x.transpose(1, 2).reshape(10, 3, 8, 12), factor)
    assert torch.equal(y, frames.reshape(2, 5, *frames.shape[1:]).transpose(1, 2))
    assert torch.equal(DepthToSpace(factor)(y), x)


@pytest.mark.parametrize("frames, height, width", [(4, 16, 16), (9, 8, 24), (1, 4, 4)])
def test_a_new_restorer_is_the_identity_on_any_clip(frames, height, width):
    clip = torch.randn(2, 3, frames, height, width)
    network = ResidualRestorer(SPEC)
    assert torch.equal(network(clip), clip)
    network(clip).square().mean().backward()
    assert float(network.layers[-2].space.weight.grad.abs().max()) > 0  # and can leave it


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_what_a_pixel_sees_in_space_and_time(factor):
    network = ResidualRestorer(SPEC, blocks=2, factor=factor).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in network.parameters():
            torch.nn.init.normal_(p, 0.0, 0.1)
        clip = torch.rand(1, 3, 7, 72, 72, dtype=torch.float64).requires_grad_()
    out, far = network(clip), 0
    for place in range(36, 40):
        (gradient,) = torch.autograd.grad(out[:, :, 3, place, place].sum(), clip, retain_graph=True)
        rows = gradient.abs().amax((0, 1, 2, 4)).nonzero()[:, 0]
        far = max(far, place - int(rows.min()), int(rows.max()) - place)
    assert far == space_radius(network)
    seen = gradient.abs().amax((0, 1, 3, 4)) > 0
    assert time_radius(network) == 2 and seen.tolist() == [abs(t - 3) <= 2 for t in range(7)]
    assert not has_clip_statistics(network)


def test_the_critic_shows_its_features():
    network = FeaturePatchDiscriminator(SPEC)
    clip = torch.randn(2, 3, 4, 16, 16)
    logits, maps = network(clip)
    assert logits.shape[:2] == (2, 1) and len(maps) == 3
    assert torch.equal(logits, network.layers(clip)) and torch.equal(maps[0], network.layers[:2](clip))
