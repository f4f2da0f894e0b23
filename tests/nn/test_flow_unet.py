"""The U-Net of flows and its sampler: shapes, identities, orders of the solvers, guidance, panoramas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.circular import make_circular
from vidiff.nn.flow_unet import (
    ClipAttention,
    FlowBlock,
    FlowDiscriminator,
    FlowSampler,
    FlowUNet3d,
    TimeConv,
    fold,
    shifted,
    unfold,
)


def spec(**more) -> ClipSpec:
    return ClipSpec(**{**dict(num_frames=8, resolution=16, width=4), **more})


def awake(module: nn.Module) -> nn.Module:
    """The module with weights instead of zeros, so that everything in it matters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in module.parameters():
            nn.init.normal_(p, 0.0, 0.2)
    return module


@pytest.mark.parametrize("by", [(1, 2, 2), (2, 2, 2)])
def test_folding_loses_nothing(by):
    x = torch.randn(2, 3, 4, 8, 6)
    folded = fold(x, by)
    assert folded.shape == (2, 3 * math.prod(by), 4 // by[0], 4, 3) and torch.equal(unfold(folded, by), x)
    assert torch.equal(folded[:, 0], x[:, 0, :: by[0], ::2, ::2])  # the first of each block


def test_a_convolution_over_time_is_one_in_three_dimensions():
    layer = TimeConv(5)
    x = torch.randn(2, 5, 6, 3, 4)
    plain = nn.functional.conv3d(x, layer.layer.weight[..., None], layer.layer.bias, padding=(1, 0, 0))
    torch.testing.assert_close(layer(x), plain)


def test_new_parts_are_the_identity_and_a_new_network_is_the_linear_velocity():
    x, c = torch.randn(2, 8, 4, 4, 4), torch.randn(2, 6)
    assert torch.equal(FlowBlock(8, 6)(x, c), x) and torch.equal(ClipAttention(8)(x), x)
    z, t = torch.randn(2, 3, 8, 16, 16), torch.tensor([0.25, 0.9])
    v = FlowUNet3d(spec(), data_std=0.5)(z, t)
    for row, at in enumerate(t.tolist()):
        factor = (at * 0.25 - (1 - at)) / (at**2 * 0.25 + (1 - at) ** 2)
        torch.testing.assert_close(v[row], factor * z[row])


@pytest.mark.parametrize("frames, folds", [(1, [1, 1]), (2, [2, 1]), (6, [2, 1]), (16, [2, 2])])
def test_any_number_of_frames(frames, folds):
    net = awake(FlowUNet3d(spec(num_frames=frames, num_classes=3)))
    x = torch.randn(2, 3, frames, 16, 16)
    out = net(x, torch.tensor([0.1, 0.8]), torch.tensor([0, 2]))
    assert out.shape == x.shape and [by[0] for by in net.folds] == folds
    assert not torch.allclose(out, net(x, torch.tensor([0.3, 0.8]), torch.tensor([0, 2])))
    assert not torch.allclose(out, net(x, torch.tensor([0.1, 0.8]), torch.tensor([1, 2])))
    with pytest.raises(ValueError, match="pass labels"):
        net(x, torch.tensor([0.1, 0.8]))


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="multiple of 8, got 20"):
        FlowUNet3d(spec(resolution=20))
    with pytest.raises(ValueError, match="num_frames"):
        FlowUNet3d(spec(num_frames=65))


def test_every_frame_and_pixel_can_depend_on_every_other():
    net = awake(FlowUNet3d(spec()))
    x = torch.randn(1, 3, 8, 16, 16, requires_grad=True)
    net(x, torch.tensor([0.5]))[0, 0, 0, 0, 0].backward()
    assert (x.grad != 0).float().mean() > 0.99


def test_a_panorama_has_no_seam():
    net = make_circular(awake(FlowUNet3d(spec(projection="equirectangular")))).double()
    x, t = torch.randn(1, 3, 8, 16, 32, dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    torch.testing.assert_close(net(x, t).roll(8, -1), net(x.roll(8, -1), t))


class Gaussian(nn.Module):
    """The exact velocity where data are N(mean, std^2) and noise is N(0, 1), each value by itself."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std, self.looks = mean, std, 0

    def forward(self, x, t, label=None):
        self.looks += 1
        t = t[:, None, None, None, None]
        variance = (t * self.std) ** 2 + (1 - t) ** 2
        return self.mean + (t * self.std**2 - (1 - t)) / variance * (x - t * self.mean)


def error(solver: str, steps: int, shift: float = 1.0) -> float:
    """Largest distance from the flow's own end, mean + std z."""
    z = torch.randn(2, 3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return float((FlowSampler(Gaussian(0.3, 0.4), None, steps, solver, shift=shift)(z) - (0.3 + 0.4 * z)).abs().max())


def test_the_flow_of_a_gaussian_ends_with_its_mean_and_deviation():
    z = torch.randn(8, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    for solver, steps, within in (("euler", 64, 0.02), ("heun", 16, 0.01)):
        x = FlowSampler(Gaussian(0.3, 0.4), None, steps, solver)(z)
        assert float(x.mean()) == pytest.approx(0.3, abs=0.005) and float(x.std()) == pytest.approx(0.4, abs=within)


def test_heun_is_of_second_order_and_euler_of_first():
    assert 1.7 < error("euler", 32) / error("euler", 64) < 2.3
    assert 3.4 < error("heun", 32) / error("heun", 64) < 4.6
    assert error("heun", 16) < error("euler", 64)


def test_shifted_steps_are_short_near_noise_and_lead_to_the_same_place():
    looked: list[float] = []
    network = Gaussian(0.3, 0.4)
    network.register_forward_pre_hook(lambda _, given: looked.append(float(given[1][0])))
    FlowSampler(network, None, 64, "euler", shift=3.0)(torch.zeros(1, 3, 1, 2, 2))
    assert looked[0] == 0.0 and looked[32] == pytest.approx(0.25) and looked[16] == pytest.approx(0.1)
    assert 1.7 < error("euler", 64, 3.0) / error("euler", 128, 3.0) < 2.3
    assert shifted(1.0, 3.0) == 1.0 and shifted(0.5, 1.0) == 0.5


def test_one_step_of_euler_is_z_plus_the_first_velocity():
    net = awake(FlowUNet3d(spec()))
    z = torch.randn(2, 3, 8, 16, 16)
    torch.testing.assert_close(FlowSampler(net, None, 1)(z), z + net(z, torch.zeros(2)))


@pytest.mark.parametrize("solver, guidance, looks", [("euler", 1.0, 4), ("heun", 1.0, 8), ("euler", 2.0, 8)])
def test_looks_at_the_network(solver, guidance, looks):
    net = Gaussian(0.0, 0.5)
    FlowSampler(net, 3, 4, solver, guidance)(torch.randn(1, 3, 2, 8, 8), torch.tensor([1]))
    assert net.looks == looks


def test_guidance():
    """1: as without; 0: no class at all; between, the velocity is the line through both."""
    net = awake(FlowUNet3d(spec(num_classes=3)))
    z, label = torch.randn(2, 3, 8, 16, 16), torch.tensor([0, 2])
    at = lambda w: FlowSampler(net, 3, 1, "euler", w)  # noqa: E731
    torch.testing.assert_close(at(1.0)(z, label), z + net(z, torch.zeros(2), label))
    none = net(z, torch.zeros(2), torch.zeros(2, 3))
    torch.testing.assert_close(at(0.0)(z, label), z + none)
    torch.testing.assert_close(at(3.0)(z, label), z + none + 3 * (net(z, torch.zeros(2), label) - none))
    one_hot = nn.functional.one_hot(label, 3).float()
    torch.testing.assert_close(at(3.0)(z, one_hot), at(3.0)(z, label))


@pytest.mark.parametrize("classes", [None, 3])
def test_guidance_by_a_worse_network(classes):
    """Until there is a guide nothing leads away from it; then the velocity is on the line through both."""
    nets = [awake(FlowUNet3d(spec(num_classes=classes))) for _ in range(2)]
    with torch.no_grad():
        nets[1].last.bias.add_(1.0)
    sampler = FlowSampler(nets[0], classes, 1, "euler", 3.0, guided=True)
    z, label = torch.randn(2, 3, 8, 16, 16), torch.tensor([0, 2]) if classes else None
    if classes is None:
        torch.testing.assert_close(sampler(z), z + nets[0](z, torch.zeros(2)))
    sampler.take_guide(nets[1])
    v, worse = (net(z, torch.zeros(2), label) for net in nets)
    torch.testing.assert_close(sampler(z, label), z + worse + 3 * (v - worse))
    assert not any(p.requires_grad for p in sampler.guide.parameters())
    again = FlowSampler(awake(FlowUNet3d(spec(num_classes=classes))), classes, 1, "euler", 3.0, guided=True)
    again.load_state_dict(sampler.state_dict())
    assert torch.equal(again(z, label), sampler(z, label))


@pytest.mark.parametrize("frames", [1, 6, 16])
def test_a_critic_looks_at_every_grid(frames):
    """Its logit is the head of what the flow's way down sees: means of the fine grids, every place of the coarsest."""
    flow = awake(FlowUNet3d(spec(num_frames=frames, num_classes=3)))
    critic = awake(FlowDiscriminator(spec(num_frames=frames, num_classes=3)))
    critic.take_way_down(flow.state_dict())
    x, label = torch.randn(2, 3, frames, 16, 16), torch.tensor([2, 0])
    ways = flow.go_down(2 * x, flow.condition(torch.ones(2), label))
    seen = [look(h) for look, h in zip(critic.looks, ways)]
    parts = [*(h.mean((2, 3, 4)) for h in seen[:2]), seen[2].flatten(1)]
    wanted = torch.cat(parts, 1) @ critic.head.weight[0] + critic.head.bias
    torch.testing.assert_close(critic(x, label), wanted)
    assert [h.shape[-1] for h in ways] == [8, 4, 2] and not torch.allclose(critic(x, label), critic(x, label.flip(0)))


def test_a_critic_takes_no_other_way_down():
    with pytest.raises(RuntimeError, match="down.0.1"):
        FlowDiscriminator(spec(), blocks=2).take_way_down(FlowUNet3d(spec()).state_dict())
