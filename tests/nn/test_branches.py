"""Branches: side by side they are the branches one by one, and each makes its share."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.attention import SelfAttention
from vidiff.nn.branches import AXIS, BranchDiscriminator, Branches, BranchGenerator
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator

SPEC = ClipSpec(3, 8, 32, width=4, latent_dim=4)


def one_by_one(branches: Branches, form: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Each branch as a network of its own, with its share of the weights, on its share of the clip."""
    axis, out = AXIS[branches.over], []
    for k, share in enumerate(x.chunk(branches.branches, axis)):
        network = nn.Sequential(*copy.deepcopy(form)).train(branches.training)
        state = branches.layers.state_dict()  # the first axis of all tensors counts the branches
        network.load_state_dict({n: v.chunk(branches.branches)[k] if v.ndim else v for n, v in state.items()})
        out.append(network(share))
    return torch.cat(out, axis)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
@pytest.mark.parametrize("over", ["time", "space"])
@pytest.mark.parametrize("training", [True, False])
def test_branches_side_by_side_are_the_branches_one_by_one(norm, over, training):
    g = BranchGenerator(SPEC, norm=norm, over=over).train(training)
    x = g.layers[:3](torch.randn(3, 4, 1, 1, 1))
    form = ConvGenerator(SPEC, norm).layers[3:-2]
    together, apart = g.layers[3](x), one_by_one(g.layers[3], form, x)
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


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
@pytest.mark.parametrize("over", ["time", "space"])
def test_branches_of_a_discriminator_are_the_branches_one_by_one(norm, over):
    spec = ClipSpec(3, 8, 16, width=4)
    d = BranchDiscriminator(spec, norm=norm, over=over)
    x = d.layers[:2](clips(spec))
    form = ConvDiscriminator(spec, norm).layers[2:]
    torch.testing.assert_close(d.layers[2](x), one_by_one(d.layers[2], form, x), rtol=0, atol=1e-5)
