"""Discriminators of several scales: what each scale sees, and that every scale weighs equally."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from vidiff.clip import ClipSpec
from vidiff.losses import least_squares_d, least_squares_g, standard_d
from vidiff.nn.blocks import count_parameters
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.multiscale import MultiScalePatchDiscriminator, PyramidDiscriminator
from vidiff.nn.resnet import PatchDiscriminator

SPEC = ClipSpec(num_frames=8, resolution=64, width=4)


def test_each_scale_sees_its_own_clip():
    network, clip = MultiScalePatchDiscriminator(SPEC, 2, 2).double(), torch.randn(2, 3, 8, 64, 64).double()
    half = torch.stack([clip[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).mean(0)
    seen = [clip, clip[:, :, ::2], half, half[:, :, ::2]]
    for own, x, logits in zip(network.networks, seen, network.logits_by_scale(clip), strict=True):
        torch.testing.assert_close(own(x).flatten(1), logits)


@pytest.mark.parametrize("space, time", [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_every_scale_weighs_equally(space, time):
    network, real = MultiScalePatchDiscriminator(SPEC, space, time).double(), torch.randn(2, 3, 8, 64, 64).double()
    fake = torch.randn_like(real)
    logits = network(real)
    assert logits.shape[:2] == (2, space * time)
    network.requires_grad_(False)
    each = list(zip(network.logits_by_scale(real), network.logits_by_scale(fake)))
    for loss in (least_squares_d, standard_d):
        expected = torch.tensor([[float(v) for v in loss(r, f)] for r, f in each]).mean(0)
        assert [float(v) for v in loss(logits, network(fake))] == pytest.approx(expected.tolist(), rel=1e-6)
    expected = sum(float(least_squares_g(f)) for _, f in each) / len(each)
    assert float(least_squares_g(network(fake))) == pytest.approx(expected, rel=1e-9)


def test_one_scale_is_the_patch_discriminator_and_gradients_reach_all():
    one = MultiScalePatchDiscriminator(SPEC, 1, 1)
    assert count_parameters(one) == count_parameters(PatchDiscriminator(SPEC))
    network, clip = MultiScalePatchDiscriminator(SPEC, 2, 2), torch.randn(1, 3, 8, 64, 64, requires_grad=True)
    network(clip).square().mean().backward()
    assert float(clip.grad.abs().sum()) > 0
    assert all(p.grad is not None for p in network.parameters())


def test_frames_and_odd_clips():
    frames = MultiScalePatchDiscriminator(ClipSpec(num_frames=1, resolution=16, width=4), 2)
    assert frames(torch.randn(6, 3, 1, 16, 16)).shape[:2] == (6, 2)
    odd = MultiScalePatchDiscriminator(ClipSpec(num_frames=5, resolution=16, width=4), 1, 3)
    assert odd(torch.randn(1, 3, 5, 16, 16)).shape[:2] == (1, 3)


@pytest.mark.parametrize("bad", [dict(scales_space=0), dict(scales_space=5), dict(scales_time=5), dict(scales_time=0)])
def test_scales_that_leave_nothing_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MultiScalePatchDiscriminator(SPEC, **bad)


SMALL = ClipSpec(3, 6, 16, width=4, latent_dim=4)


LAYER = partial(ConvDiscriminator, norm="layer")


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


def test_pyramid_is_the_mean_of_its_parts():
    d = PyramidDiscriminator(SMALL, scales=[(1, 1), (2, 1), (1, 2), (2, 3)], discriminator=LAYER)
    x = clips(SMALL)
    parts = [
        d.parts[0](x),
        d.parts[1](F.avg_pool3d(x, (1, 2, 2))),
        d.parts[2](x[:, :, [0, 2, 4]]),
        d.parts[3](F.avg_pool3d(x[:, :, [0, 3]], (1, 2, 2))),
    ]
    torch.testing.assert_close(d(x), sum(parts) / 4, rtol=0, atol=1e-5)
    for bad in [(3, 1), (1, 7), (0, 1)]:
        with pytest.raises(ValueError, match="does not fit"):
            PyramidDiscriminator(SMALL, scales=[bad])
