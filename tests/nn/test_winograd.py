"""Convolutions with fewer products against the library's: values, all derivatives, and where they are used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidiff import keyed
from vidiff.nn import winograd
from vidiff.nn.blocks import Conv3d


def found(convolve, x, weight):
    """Values, gradients, and the gradient of a penalty on one of them."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = convolve(x, weight)
    first = torch.autograd.grad(out.sin().sum(), (x, weight), create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), (x, weight))
    return [out, *first, *second]


@pytest.mark.parametrize("sides", [(6, 6), (10, 18), (14, 6)])
def test_it_is_a_convolution(sides):
    with keyed.forked("winograd"):
        x = torch.randn(2, 3, *sides, dtype=torch.float64)
        weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    for ours, theirs in zip(found(winograd.correlate, x, weight), found(F.conv2d, x, weight), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def layers(padding):
    ours, theirs = (kind(256, 256, (1, 3, 3), padding=padding) for kind in (Conv3d, nn.Conv3d))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shape", [(1, 256, 1, 34, 34), (2, 256, 2, 34, 34)])
@pytest.mark.parametrize("side", [0, 1])
def test_a_layer_is_torchs_up_to_rounding(shape, side, monkeypatch):
    used = []
    correlate = winograd.correlate
    monkeypatch.setattr(winograd, "correlate", lambda *args: used.append(1) or correlate(*args))
    with keyed.forked("winograd"):
        clip = torch.randn(shape)[..., 2 * side :, 2 * side :].relu()
        ours, theirs = layers((0, side, side))
        gradient = torch.randn(*shape[:3], 32, 32)
    pairs = []
    for layer in (ours, theirs):
        x = clip.clone().requires_grad_()
        out = layer(x)
        pairs.append([out, *torch.autograd.grad(out, (x, layer.weight, layer.bias), gradient)])
    assert used
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


def weight(c_out=256, c_in=256, kernel=(1, 3, 3)):
    return torch.empty(c_out, c_in, *kernel)


def test_it_is_used_for_large_layers_alone():
    clip, none = torch.empty(1, 256, 1, 34, 34), (0, 0, 0)
    assert winograd.pays(clip, weight(), none)
    assert winograd.pays(clip[..., 2:, 2:], weight(), (0, 1, 1))
    assert not winograd.pays(clip[..., 1:], weight(), none)  # no whole tiles
    assert not winograd.pays(clip[..., 16:, 16:], weight(), none)
    assert not winograd.pays(clip, weight(128), none)
    assert not winograd.pays(clip[:, :128], weight(c_in=128), none)
    assert not winograd.pays(clip, weight(kernel=(3, 3, 3)), none)
    assert not winograd.pays(clip.double(), weight().double(), none)
    with torch.autocast("cpu", torch.bfloat16):
        assert not winograd.pays(clip, weight(), none)


@pytest.mark.parametrize("sizes", [dict(stride=(1, 2, 2)), dict(dilation=(1, 2, 2)), dict(padding=(1, 0, 0))], ids=str)
def test_another_convolution_stays_direct(sizes, monkeypatch):
    monkeypatch.setattr(winograd, "pays", lambda *args: True)
    monkeypatch.setattr(winograd, "correlate", lambda *args: pytest.fail("it does not fit"))
    with keyed.forked("winograd"):
        ours, theirs = (kind(4, 4, (1, 3, 3), **sizes) for kind in (Conv3d, nn.Conv3d))
        x = torch.randn(1, 4, 2, 10, 10)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
