"""Frames as functions of time: alone or together, any length; a discriminator of a few frames."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.anytime import AnytimeDiscriminator, AnytimeGenerator, MotionCode


def _spec(**sizes) -> ClipSpec:
    return ClipSpec(**{"num_frames": 6, "resolution": 16, "width": 4, "latent_dim": 8} | sizes)


@pytest.mark.parametrize("sizes", [{"resolution": 8}, {}, {"resolution": 64, "num_classes": 3}, {"num_frames": 1}])
def test_sizes(sizes):
    spec = _spec(**sizes)
    label = torch.tensor([0, 2]) if spec.num_classes else None
    clip = AnytimeGenerator(spec)(torch.randn(2, 8), label)
    assert clip.shape == (2, 3, spec.num_frames, spec.resolution, spec.resolution)
    assert clip.abs().max() <= 1.0
    network = AnytimeDiscriminator(spec)
    assert network.frames == min(3, spec.num_frames)
    assert network(clip, label).shape == (2,)


def test_a_frame_is_a_function_of_its_time_alone():
    network = AnytimeGenerator(_spec()).eval()
    z = torch.randn(2, 8)
    whole = network(z)
    times = torch.tensor([[4.0, 1.0], [0.0, 5.0]])
    some = network(z, None, times)
    expected = torch.stack([whole[b][:, times[b].long()] for b in range(2)])
    assert torch.allclose(some, expected, atol=1e-5)
    # Beyond the clip's end and between its frames too, and a short step changes little.
    late = network(z, None, torch.tensor([[100.0, 100.01, 103.0]]).expand(2, -1))
    near, far = (late[:, :, 1] - late[:, :, 0]).abs().mean(), (late[:, :, 2] - late[:, :, 0]).abs().mean()
    assert 0 < near < 0.05 * far


def test_blocks_of_four_pixels_begin_equal():
    clip = AnytimeGenerator(_spec())(torch.randn(2, 8))
    blocks = clip.unflatten(-1, (8, 2)).unflatten(-3, (8, 2))  # (B, C, T, 8, 2, 8, 2)
    assert torch.equal(blocks[..., :1, :, :1].expand_as(blocks), blocks)
    assert clip.std() > 0.01


def test_motion_code_is_the_formula_of_its_waves():
    torch.manual_seed(0)
    network, code, times = MotionCode(5, 3, 16).double(), torch.randn(2, 5).double(), torch.tensor([[0.5, 7.0]] * 2)
    f, p, a = (code @ network.waves.weight.T + network.waves.bias).view(2, 3, 3).unbind(1)
    periods = torch.tensor([40.0, (40.0 * 12) ** 0.5, 12.0]).double()
    got = network(code, times.double())
    for k in range(3):
        angle = (
            2 * torch.pi / periods[k] * torch.exp(0.35 * torch.tanh(f[:, k : k + 1])) * times
            + torch.pi * p[:, k : k + 1]
        )
        assert torch.allclose(got[..., k], a[:, k : k + 1] * torch.sin(angle), atol=1e-6)
        assert torch.allclose(got[..., 3 + k], a[:, k : k + 1] * torch.cos(angle), atol=1e-6)


def test_a_whole_clip_is_judged_by_frames_far_apart():
    network, clip = AnytimeDiscriminator(_spec(num_frames=5)), torch.randn(2, 3, 5, 16, 16)
    times = torch.tensor([[0.0, 2.0, 4.0]] * 2)
    assert torch.equal(network(clip), network(clip[:, :, [0, 2, 4]], None, times))
    # The gaps count, and so do the order and each frame.
    few = clip[:, :, [0, 2, 4]]
    assert not torch.allclose(network(few, None, times), network(few, None, torch.tensor([[0.0, 1.0, 4.0]] * 2)))
    assert not torch.allclose(network(few, None, times), network(few.flip(2), None, times))


def test_it_looks_at_one_frame_at_least():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        AnytimeDiscriminator(_spec(), frames=0)
