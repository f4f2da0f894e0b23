"""Blocks that are run again in the backward pass: the same numbers, the same buffers, less kept."""

from __future__ import annotations

import copy

import pytest
import torch
from exact import CLIPS, SIZES, Pairs, apart, model_of
from helpers import TINY, Clips, quiet_trainer
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.dcgan import DCGAN
from vidiff.models.r3gan import R3GAN
from vidiff.nn.recompute import blocks_of, recomputing
from vidiff.nn.resnet import ResnetGenerator


class Block(nn.Module):
    """Everything that a second pass could get wrong."""

    recomputed = True
    calls = 0

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv3d(2, 2, 3, padding=1)), nn.BatchNorm3d(2), nn.Dropout(0.5), nn.Tanh()
        )

    def forward(self, x):
        Block.calls += 1
        return x + self.layers(x) * torch.rand_like(x)


def run(network, twice, recompute):
    """Gradients of two passes, one after the other, and the random number after them."""
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 4, 4, dtype=torch.float64)
    with recomputing(network) if recompute else torch.enable_grad():
        loss = network(x).square().mean() + network(2 * x).square().mean()
    if twice:
        first = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    loss.backward()
    got = [p.grad.clone() for p in network.parameters()]
    assert not twice or all(torch.equal(a, b) for a, b in zip(first, got))
    return [loss.detach(), *got, *network.buffers(), torch.rand(3)]


@pytest.mark.parametrize("twice", [False, True])
def test_a_second_pass_is_the_first_once_more_and_leaves_no_trace(twice):
    plain = nn.Sequential(Block(), nn.Tanh(), Block()).double()
    again = copy.deepcopy(plain)
    Block.calls = 0
    expected = run(plain, twice, recompute=False)
    assert Block.calls == 4
    for a, b in zip(expected, run(again, twice, recompute=True), strict=True):
        assert torch.equal(a, b)
    assert Block.calls == 4 + (12 if twice else 8)
    assert int(again[0].layers[1].num_batches_tracked) == 2
    assert again[0].forward.__func__ is Block.forward and copy.deepcopy(again)[0].layers is not again[0].layers


def test_without_gradients_nothing_is_done_twice():
    network = nn.Sequential(Block()).double()
    Block.calls = 0
    with recomputing(network), torch.no_grad():
        network(torch.randn(4, 2, 3, 4, 4, dtype=torch.float64))
    assert Block.calls == 1


def test_less_is_kept():
    network = ResnetGenerator(ClipSpec(num_frames=4, resolution=32, width=8))
    assert [type(b).__name__ for b in blocks_of(network)] == ["ClipConv"] * 3 + ["ResidualBlock"] * 6 + ["ClipConv"]
    clip, kept = torch.randn(1, 3, 4, 32, 32), {}
    for recompute in (False, True):
        seen: dict[int, int] = {}

        def pack(x, seen=seen):
            seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        def enter(block, args, seen=seen):
            pack(args[0], seen)

        inputs = [block.register_forward_pre_hook(enter) for block in blocks_of(network) if recompute]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            with recomputing(network) if recompute else torch.enable_grad():
                network(clip)
        kept[recompute] = sum(seen.values())
        for hook in inputs:
            hook.remove()
    assert kept[True] < 0.5 * kept[False]


@pytest.mark.parametrize("family", ["AnytimeGAN", "R3GAN", "FlowMatching", "Autoencoder", "CycleGAN"])
def test_a_training_is_the_same_to_the_bit(family):
    """BatchNorm, kept clips, a flow, gradients taken twice (the adaptive weight), two generators."""
    states = []
    for recompute in (False, True):
        model = model_of(family, recompute=recompute)
        quiet_trainer(max_steps=2, precision="64-true").fit(
            model, Pairs(CLIPS // 4, num_classes=2, num_frames=SIZES["num_frames"])
        )
        states.append(model.state_dict())
    assert max(apart(*states).values()) == 0.0


def test_refusals():
    with pytest.raises(UsageError, match="DCGAN's generator has no blocks"):
        quiet_trainer(max_steps=1).fit(DCGAN(recompute=True, **TINY), Clips())
    with pytest.raises(UsageError, match="give one of the two"):
        quiet_trainer(max_steps=1).fit(R3GAN(recompute=True, compile=True, **TINY), Clips())
