"""The transformer on latents: what a new one says, who hears of whom, labels, places that are folded."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.flow_transformer import FlowTransformer

SPEC = ClipSpec(channels=4, num_frames=6, resolution=1, width=32, num_classes=3)


def awake(network):
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return network.eval()


@pytest.mark.parametrize("patch, resolution", [(1, 1), (2, 1), (3, 2)])
def test_a_new_network_says_the_best_linear_velocity(patch, resolution):
    spec = ClipSpec(channels=4, num_frames=6, resolution=resolution, width=32)
    x, t = torch.randn(3, 4, 6, resolution, resolution), torch.tensor([0.0, 0.3, 1.0])
    at = t[:, None, None, None, None]
    v = FlowTransformer(spec, 2, data_std=0.5, patch=patch)(x, t)
    torch.testing.assert_close(v, (at / 4 - (1 - at)) / (at**2 / 4 + (1 - at) ** 2) * x)


def test_every_number_has_a_standard_deviation_of_its_own():
    """Of Gaussian latents the best velocity is linear: of a new network it is exact, whatever their sizes."""
    network, spread = FlowTransformer(SPEC, 1, patch=1), torch.rand(4, 6, 1, 1) + 0.1
    network.data_std.copy_(spread)
    x, t = torch.randn(2, 4, 6, 1, 1), torch.tensor([0.2, 0.9])
    at = t[:, None, None, None, None]
    # E[data - noise | x] = (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2) x
    expected = (at * spread**2 - (1 - at)) / (at**2 * spread**2 + (1 - at) ** 2) * x
    torch.testing.assert_close(network(x, t, torch.tensor([0, 2])), expected)
    assert "data_std" in network.state_dict()


def test_every_place_hears_of_every_other_and_of_time_and_label():
    network = awake(FlowTransformer(SPEC, 2))
    x = torch.randn(1, 4, 6, 1, 1, requires_grad=True)
    t, label = torch.tensor([0.4]), torch.tensor([1])
    network(x, t, label)[0, :, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1, 3, 4)) > 0).all()
    with torch.no_grad():
        v = network(x, t, label)
        assert not torch.allclose(v, network(x, t + 0.1, label)) and not torch.allclose(v, network(x, t, label + 1))
        # Shares of a class are the class; none is another thing.
        torch.testing.assert_close(v, network(x, t, torch.tensor([[0.0, 1.0, 0.0]])))


def test_places_have_layers_of_their_own():
    """With no attention to tell them apart, equal places would be answered alike."""
    network = FlowTransformer(SPEC, 1, patch=1)
    with torch.no_grad():
        network.place.zero_()
        network.own_last.copy_(torch.randn(6, 1, 1).expand_as(network.own_last) * torch.randn(32, 4))
    out = network.residual(torch.ones(1, 8, 6, 1, 1), torch.zeros(1, 32))[0, :, :, 0, 0]
    torch.testing.assert_close(out[:, 1] * network.own_last[0, 0, 0], out[:, 0] * network.own_last[1, 0, 0])
    assert not torch.allclose(out[:, 0], out[:, 1])


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ValueError, match="patch must divide the 6 places"):
        FlowTransformer(SPEC, patch=4)
