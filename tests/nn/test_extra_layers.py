"""Parts put into networks: sizes, that they begin as nothing and learn, any network by the path of a layer."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.attention import SelfAttention
from vidiff.nn.branches import BranchGenerator
from vidiff.nn.extra_layers import WithExtraLayers
from vidiff.nn.fusion import CrossLayerGenerator, FusionGenerator
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.moco import MoCoGenerator
from vidiff.nn.progressive import GrowingGenerator
from vidiff.nn.r3 import R3Generator, ResidualBlock
from vidiff.nn.temporal_encoders import TemporalEncoder

SPEC = ClipSpec(3, 8, 32, width=4, latent_dim=4)


ATTENTION = {over: partial(SelfAttention, over=over, heads=2) for over in ("space", "time", "both")}


ENCODERS = {kind: partial(TemporalEncoder, kind=kind) for kind in ("lstm", "gru", "convlstm", "conv")}


PARTS = {**ATTENTION, **ENCODERS, "residual": partial(ResidualBlock, depth=2)}


FUSED = {"fusion": FusionGenerator, "cross_layer": partial(CrossLayerGenerator, heads=2)}


ALL = {
    **{name: partial(WithExtraLayers, network=ConvGenerator, part=p, after=["layers.-3"]) for name, p in PARTS.items()},
    **FUSED,
    "branches_space": partial(BranchGenerator, over="space"),
    "branches_time": partial(BranchGenerator, over="time"),
}


@pytest.mark.parametrize("frames, resolution", [(1, 16), (3, 16), (7, 32), (16, 16), (3, 64)])
@pytest.mark.parametrize("name", [n for n in ALL if n not in ("gru", "lstm", "space")])
def test_sizes(name, frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=4, latent_dim=4)
    if name == "branches_time" and frames == 1:
        with pytest.raises(ValueError, match="1 frames, which 2"):
            ALL[name](spec)
        return
    clip = ALL[name](spec)(torch.randn(2, 4))
    assert clip.shape == (2, 3, frames, resolution, resolution) and clip.abs().max() <= 1


@pytest.mark.parametrize("name", [*PARTS, *FUSED])
def test_parts_begin_as_nothing_and_learn(name):
    """With the plain network's weights: its clips; once the gates are open, others, and every weight has a gradient."""
    torch.manual_seed(0)
    plain, network = ConvGenerator(SPEC), ALL[name](SPEC)
    inner = network.network if isinstance(network, WithExtraLayers) else network
    missing, unexpected = inner.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected
    z = torch.randn(3, 4)
    torch.testing.assert_close(network(z), plain(z))
    torch.manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 0 or not p.any():  # the gates
                p.add_(torch.randn_like(p))
    clip = network(z)
    assert not torch.allclose(clip, plain(z), atol=1e-3)
    clip.square().mean().backward()
    for key, p in network.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key


def test_initial_weights_are_the_plain_networks():
    """Under one seed a network with a part starts as the network without it."""
    torch.manual_seed(0)
    plain = ConvGenerator(SPEC)
    for name in ("fusion", "cross_layer", "time", "residual"):
        torch.manual_seed(0)
        network = ALL[name](SPEC)
        state = dict(network.network.state_dict() if isinstance(network, WithExtraLayers) else network.state_dict())
        assert all(torch.equal(state[k], v) for k, v in plain.state_dict().items()), name


def test_any_network_can_be_equipped():
    """By the path of a layer, in other families' networks too; what they have and can do stays reachable."""
    part = partial(TemporalEncoder, kind="gru")
    r3 = WithExtraLayers(SPEC, R3Generator, part, ["ups.-2", "stages.-2"])
    assert r3(torch.randn(2, 4)).shape == (2, 3, 8, 32, 32) and r3.basis.shape == R3Generator(SPEC).basis.shape
    moco = WithExtraLayers(SPEC, MoCoGenerator, part, ["decoder.-1"])
    assert moco(torch.randn(2, 4), None, torch.randn(2, 9, 10)).shape == (2, 3, 8, 32, 32)
    assert moco.motion_dim == 10
    growing = WithExtraLayers(SPEC, GrowingGenerator, part, ["blocks.-1"])
    growing.level.fill_(growing.last)
    assert growing(torch.randn(2, 4)).shape == (2, 3, 8, 32, 32)
    assert [type(m).__name__ for m in growing.blocks[-1]] == ["Equalized", "TemporalEncoder"]


@pytest.mark.parametrize("path, said", [("layer.-1", "layers"), ("layers.-12", "accepted: 0, 1"), ("layers.x", "10")])
def test_wrong_places_are_named(path, said):
    with pytest.raises(ValueError, match=said):
        WithExtraLayers(SPEC, ConvGenerator, SelfAttention, [path])
