"""MoCoGAN's networks: windows of a path, gates, noise in training alone, sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.moco import ClipDiscriminator, MoCoDiscriminators, MoCoGenerator, Noise


def test_judges_are_noisy_in_training_alone():
    spec, clip = ClipSpec(3, 8, 16, width=4), torch.randn(2, 3, 8, 16, 16)
    noisy, plain = MoCoDiscriminators(spec, 0.3), MoCoDiscriminators(spec)
    noisy.load_state_dict(plain.state_dict())
    x = torch.zeros(4, 64, 64)
    assert float(Noise(0.3)(x).std()) == pytest.approx(0.3, rel=0.05)
    assert sum(isinstance(m, Noise) for m in noisy.modules()) == sum(isinstance(m, nn.Conv3d) for m in noisy.modules())
    assert not torch.equal(noisy["clip"](clip)[0], plain["clip"](clip)[0])
    noisy.eval(), plain.eval()
    noisy.load_state_dict(plain.state_dict())
    assert torch.equal(noisy["clip"](clip)[0], plain["clip"](clip)[0])
    with pytest.raises(ValueError, match="noise"):
        MoCoDiscriminators(spec, -1.0)


def test_a_training_clip_is_a_window_of_a_longer_path():
    generator = MoCoGenerator(ClipSpec(3, 4, 16, width=2, latent_dim=4), motion_dim=5, gate_bias=1.0)
    noise, start = torch.randn(3, 1 + 10, 5), torch.tensor([0, 6, 2])
    whole, window = generator.motion(noise), generator.motion(generator.noise_from(noise, start, 4))
    for b, first in enumerate(start.tolist()):
        torch.testing.assert_close(window[b], whole[b, first : first + 4])
    (gradient,) = torch.autograd.grad(window[1].sum(), generator.cell.weight_hh)  # through the steps before, too
    (only,) = torch.autograd.grad(
        generator.motion(generator.noise_from(noise, start, 4).detach())[1].sum(), generator.cell.weight_hh
    )
    assert not torch.allclose(gradient, only)


def test_a_slow_gate_remembers():
    """How much of its starting state a path still has after 8 frames."""
    kept = {}
    for bias in (0.0, 2.0):
        torch.manual_seed(0)
        generator = MoCoGenerator(ClipSpec(3, 4, 16, width=2, latent_dim=4), gate_bias=bias)
        noise = torch.randn(64, 9, 10)
        other = noise.clone()
        other[:, 0] += torch.randn(64, 10)
        with torch.no_grad():
            a, b = generator.motion(noise)[:, -1], generator.motion(other)[:, -1]
        kept[bias] = float((a - b).norm() / (noise - other).norm())
    assert kept[0.0] < 0.1 < 0.2 < kept[2.0] < 0.7


@pytest.mark.parametrize("frames, resolution", [(1, 16), (2, 16), (5, 16), (8, 16), (16, 32)])
def test_sizes(frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=2, latent_dim=4)
    logits, classes = ClipDiscriminator(spec)(torch.randn(2, 3, frames, resolution, resolution))
    assert logits.shape[0] == 2 and classes is None
