"""The generators of the toolbox: sizes, parts that begin as nothing, formulas, branches side by side and one by one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.attention import SelfAttention
from vidiff.nn.branches import Branches, BranchGenerator
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


def test_fusion_formula():
    """tanh(head + the sum of every stage's painting, enlarged to the clip's size at once)."""
    torch.manual_seed(0)
    g = FusionGenerator(ClipSpec(3, 6, 32, width=4, latent_dim=4))
    for layer in g.to_clip:
        nn.init.normal_(layer.weight)
    z = torch.randn(2, 4)
    x, paintings = z[:, :, None, None, None], []
    for i, layer in enumerate(g.layers[:9]):
        x = layer(x)
        if i % 3 == 2:
            paintings.append(torch.einsum("oc,bcthw->bothw", g.to_clip[i // 3].weight[:, :, 0, 0, 0], x))
    head = g.layers[9](x)
    total = head + sum(F.interpolate(p, head.shape[2:]) for p in paintings)
    torch.testing.assert_close(g(z), torch.tanh(total)[:, :, :6])


def test_cross_layer_looks_at_the_early_stage():
    """The finest features of a clip depend on the early ones through the attention alone when these are exchanged."""
    g = CrossLayerGenerator(SPEC, heads=2)
    nn.init.ones_(g.look_back.gate)
    seen = []
    g.look_back.register_forward_hook(lambda m, args, out: seen.append([tuple(a.shape[1:]) for a in args]))
    g(torch.randn(2, 4))
    assert seen == [[(4, 4, 16, 16), (16, 2, 4, 4)]]
    with pytest.raises(ValueError, match="0 to 1"):
        CrossLayerGenerator(SPEC, early=2)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
@pytest.mark.parametrize("over", ["time", "space"])
@pytest.mark.parametrize("training", [True, False])
def test_branches_side_by_side_are_the_branches_one_by_one(norm, over, training):
    g = BranchGenerator(SPEC, norm=norm, over=over).train(training)
    x = g.layers[:3](torch.randn(3, 4, 1, 1, 1))
    together, apart = g.layers[3](x), g.layers[3].sequential(x)
    assert together.shape == (3, 4, 4, 16, 16)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_one_branch_is_the_plain_generator():
    plain, g = ConvGenerator(SPEC), BranchGenerator(SPEC, branches=1)
    names = {f"layers.{i}": f"layers.{i}" for i in range(3)}
    names |= {f"layers.{3 + i}": f"layers.3.layers.{i}" for i in range(6)} | {"layers.9": "layers.4"}
    state = plain.state_dict()
    g.load_state_dict({f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in state.items()})
    z = torch.randn(2, 4)
    torch.testing.assert_close(g(z), plain(z))


def test_each_branch_makes_its_share():
    """A branch's weights reach its own frames and, through the last layer, one frame beyond the seam."""
    g = BranchGenerator(SPEC, over="time").eval()
    z = torch.randn(2, 4)
    before = g(z)
    with torch.no_grad():
        weight = g.layers[3].layers[0].weight  # (branches * channels in, channels out, ...)
        weight[: len(weight) // 2] += 1.0  # the first branch
    changed = (g(z) - before).abs().amax((0, 1, 3, 4)) > 0
    assert changed.tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize("bad, said", [(dict(branches=3), "2 frames"), (dict(branches=3, over="space"), "4 columns")])
def test_shares_that_do_not_fit(bad, said):
    with pytest.raises(ValueError, match=said):
        BranchGenerator(SPEC, **bad)
    with pytest.raises(ValueError, match="16 pixels or more"):
        BranchGenerator(ClipSpec(3, 8, 8, width=4), over="space")
    with pytest.raises(ValueError, match="not of SelfAttention"):
        Branches(nn.Sequential(SelfAttention(4, heads=1)), 2)


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
