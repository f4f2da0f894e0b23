"""Layers: put together by their masks, moved without being drawn anew, ended before the edge of their picture."""

from __future__ import annotations

import pytest
import torch
from helpers import Says

from vidiff.clip import ClipSpec
from vidiff.nn.layered import LayeredGenerator, smooth

SPEC = ClipSpec(num_frames=6, resolution=16, width=4, latent_dim=8)


@pytest.mark.parametrize("resolution, classes, frames", [(8, None, 1), (32, 3, 5)])
def test_sizes(resolution, classes, frames):
    spec = ClipSpec(num_frames=frames, resolution=resolution, width=4, latent_dim=8, num_classes=classes)
    clip = LayeredGenerator(spec)(torch.randn(2, 8), torch.tensor([0, 2]) if classes else None)
    assert clip.shape == (2, 3, frames, resolution, resolution)
    assert clip.abs().max() <= 1.0


def test_a_frame_is_a_function_of_its_time_alone():
    network, z = LayeredGenerator(SPEC).eval(), torch.randn(2, 8)
    whole, times = network(z), torch.tensor([[4.0, 1.0], [0.0, 5.0]])
    expected = torch.stack([whole[b][:, times[b].long()] for b in range(2)])
    assert torch.allclose(network(z, None, times), expected, atol=1e-5)
    assert network(z, None, torch.arange(40.0).expand(2, -1)).shape[2] == 40


def test_an_object_moves_in_front_of_the_background():
    """Flat pictures: where no object is, a frame is background; an object's area stays and its middle is its path."""
    network, z = LayeredGenerator(SPEC, objects=1).eval(), torch.randn(1, 8)
    positions = torch.tensor([[[-0.5, 0.0], [0.5, 0.25]]])  # (N, T, 2)
    network.background = Says(torch.zeros(1, 6, 1, 8, 8))
    network.object = Says(torch.full((1, 4, 1, 8, 8), 20.0))
    network.path = Says((positions, torch.zeros(1, 2), torch.zeros(1, 2)))
    clip = network(z, None, torch.tensor([[0.0, 1.0]]))[
        0, 0
    ].detach()  # (T, H, W): 0 behind, 1 in the middle of the object
    assert clip.min() == 0.0 and clip.max() == pytest.approx(1.0, abs=1e-6)
    areas = clip.sum((1, 2))
    assert areas[0].item() == pytest.approx(areas[1].item(), rel=0.05)
    axis = (torch.arange(16) + 0.5) / 8 - 1
    middle = torch.stack([(clip.sum(1) * axis).sum(1), (clip.sum(2) * axis).sum(1)], 1) / areas[:, None]
    assert torch.allclose(middle, 0.7 * positions[0], atol=0.03)


def test_an_object_turns_and_grows():
    network, z = LayeredGenerator(SPEC, objects=1).eval(), torch.randn(1, 8)
    still = torch.zeros(1, 3, 2)
    halves = torch.full((1, 4, 8, 8), 20.0)
    halves[:, :3, :, :4] = -20.0  # dark on the left, light on the right
    network.background = Says(torch.zeros(1, 6, 1, 8, 8))
    network.object = Says(halves[:, :, None])
    size, angle = torch.tensor([[0.0, 0.0, 10.0]]), torch.tensor([[0.0, torch.pi / 2, 0.0]])
    network.path = Says((still, size, angle))
    clip = network(z, None, torch.tensor([[0.0, 1.0, 2.0]]))[0, 0].detach()
    assert clip[0, 8, 6] < -0.5 and clip[0, 8, 9] > 0.5 and clip[0, 6, 8] > 0 and clip[0, 9, 8] > 0
    # A quarter turn: x goes to y, downwards.
    assert clip[1, 6, 8] < -0.5 and clip[1, 9, 8] > 0.5 and clip[1, 8, 6] > 0 and clip[1, 8, 9] > 0
    ratio = (clip[2].abs().sum() / clip[0].abs().sum()).item()
    assert ratio == pytest.approx(torch.tensor(1.2).exp().item(), rel=0.3)  # twice e^0.6 in area, cut at the edge


def test_smoothing_keeps_the_mean_of_a_flat_picture_and_halves_a_checker():
    flat, checker = torch.full((1, 2, 6, 6), 0.3), torch.ones(6, 6)
    checker[::2, ::2] = checker[1::2, 1::2] = -1.0
    assert torch.allclose(smooth(flat), flat)
    assert smooth(checker.expand(1, 2, 6, 6))[:, :, 1:-1, 1:-1].abs().max() < 1e-6


def test_objects_at_least_one():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LayeredGenerator(SPEC, objects=0)
