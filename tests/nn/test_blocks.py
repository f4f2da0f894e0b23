"""What networks are made of: initial weights, norms and which of them mix clips, spectral norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vidiff import keyed
from vidiff.clip import ClipSpec
from vidiff.nn.blocks import (
    Conv3d,
    ConvTranspose3d,
    LeakyReLU,
    count_parameters,
    initialize,
    mixes_clips,
    norm_layer,
)
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.progressive import minibatch_stddev
from vidiff.nn.resnet import StarDiscriminator
from vidiff.penalties import gradient_penalty


@pytest.mark.parametrize(
    "init, std", [("dcgan", 0.02), ("xavier", (2 / (256 + 128)) ** 0.5), ("kaiming", (2 / 1.04 / 256) ** 0.5)]
)
def test_initial_spread(init, std):
    torch.manual_seed(0)
    layer = nn.Linear(256, 128)
    initialize(layer, init)
    assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.02)
    assert float(layer.bias.detach().abs().max()) == 0


def test_orthogonal():
    layer = nn.Linear(32, 16)
    initialize(layer, "orthogonal")
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(16), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["layer", "instance", "none"])
def test_per_clip_norms_do_not_mix_clips(norm):
    spec = ClipSpec(3, 4, 16, width=4)
    d = ConvDiscriminator(spec, norm=norm)
    clips = torch.randn(3, 3, 4, 16, 16)
    assert not mixes_clips(d)
    torch.testing.assert_close(d(clips)[:1], d(clips[:1]), rtol=1e-4, atol=1e-5)


def test_batch_norm_mixes_clips():
    d = ConvDiscriminator(ClipSpec(3, 4, 16, width=4), norm="batch")
    clips = torch.randn(3, 3, 4, 16, 16)
    assert mixes_clips(d) == ["BatchNorm"] and not torch.allclose(d(clips)[:1], d(clips[:1]), atol=1e-4)


def test_unknown_norm():
    with pytest.raises(ValueError, match="batch, layer"):
        norm_layer("group", 4)


def test_spectral_norm_bounds_the_layers():
    d = ConvDiscriminator(ClipSpec(3, 4, 16, width=4), norm="none", spectral=True)
    for _ in range(30):
        d(torch.randn(2, 3, 4, 16, 16))
    for layer in d.layers[::2]:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


def test_parameter_count():
    assert count_parameters(nn.Linear(3, 2)) == 8


@pytest.mark.parametrize("batch, groups", [(2, [2]), (5, [3, 2]), (7, [4, 3]), (8, [4, 4]), (11, [4, 4, 3])])
def test_batches_of_any_size_show_how_clips_differ(batch, groups):
    """No batch is divided into groups of one, in which nothing differs."""
    x = torch.randn(batch, 3, 2, 4, 4)
    expected = [part.numpy().std(axis=0).mean() for part in x.split(groups) for _ in part]
    assert torch.allclose(minibatch_stddev(x)[:, 3, 0, 0, 0], torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize(
    "sizes",
    [
        dict(kernel_size=(1, 3, 3), padding=(0, 1, 1)),
        dict(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), groups=2),
        dict(kernel_size=1, bias=False),
        dict(kernel_size=(3, 1, 1), padding=(1, 0, 0)),
        dict(kernel_size=(3, 1, 1), dilation=(2, 1, 1), stride=(2, 1, 1)),
        dict(kernel_size=3, padding=1),
        dict(kernel_size=(1, 3, 3), padding=(0, 1, 1), padding_mode="circular"),
        dict(kernel_size=(1, 3, 3), padding="same"),
    ],
    ids=str,
)
@pytest.mark.parametrize("clips", [1, 2])
def test_a_convolution_of_one_clip_is_torchs(sizes, clips):
    with keyed.forked("conv"):
        ours, theirs = (kind(4, 6, **sizes).double() for kind in (Conv3d, nn.Conv3d))
        x = torch.randn(clips, 4, 7, 6, 8, dtype=torch.float64)
    same_values_and_gradients(ours, theirs, x)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (1, 4, 4), (3, 3, 3)])
@pytest.mark.parametrize("clips", [1, 2])
def test_a_transposed_convolution_of_one_clip_is_torchs(kernel, clips):
    extra = (0, kernel[1] % 2, kernel[1] % 2)
    sizes = dict(kernel_size=kernel, stride=(1, 2, 2), padding=(kernel[0] // 2, 1, 1), output_padding=extra)
    with keyed.forked("conv"):
        ours, theirs = (kind(4, 6, **sizes).double() for kind in (ConvTranspose3d, nn.ConvTranspose3d))
        x = torch.randn(clips, 4, 3, 5, 6, dtype=torch.float64)
    same_values_and_gradients(ours, theirs, x)


def same_values_and_gradients(ours, theirs, x):
    theirs.load_state_dict(ours.state_dict())
    found = []
    for network in (ours, theirs):
        given = x.clone().requires_grad_()
        out = network(given)
        # Through the gradient once more, as penalties go.
        (first,) = torch.autograd.grad(out.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), [given, *network.parameters()], allow_unused=True)
        found.append([out, first, *[g for g in second if g is not None]])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


class _Multiplications(TorchDispatchMode):
    """Counts what convolutions do, FLOPs of the backward ones included."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.flops += count(*args, **(kwargs or {}), out_val=out) if count else 0
        return out


def penalty_gradients(activation: type[nn.Module]) -> list[torch.Tensor]:
    """Gradients of a penalty on a small discriminator's gradient."""
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 8, (1, 4, 4), (1, 2, 2)), activation(0.2), nn.GroupNorm(1, 8)]
    net = nn.Sequential(*layers, nn.Conv3d(8, 8, (2, 3, 3)), activation(0.2), nn.Conv3d(8, 1, (1, 2, 2))).double()
    x = torch.randn(2, 3, 4, 12, 12, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    return list(torch.autograd.grad((gradient.flatten(1).norm(dim=1) - 1).square().mean(), list(net.parameters())))


def test_leaky_relu_sends_no_zeros_through_a_penalty():
    """PyTorch's gradients, also where a norm and a square have second derivatives."""
    for ours, theirs in zip(penalty_gradients(LeakyReLU), penalty_gradients(nn.LeakyReLU)):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    x = torch.linspace(-1, 1, 11, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(LeakyReLU(0.3), (x[:5],)) and torch.autograd.gradgradcheck(LeakyReLU(0.3), (x[:5],))
    assert torch.equal(LeakyReLU(0.3)(x), nn.LeakyReLU(0.3)(x))
    with torch.no_grad():
        assert torch.equal(LeakyReLU(0.3)(x), nn.LeakyReLU(0.3)(x))


def test_a_network_without_norms_costs_a_penalty_less():
    spec = ClipSpec(3, 1, 16, width=4, num_classes=2)
    flops = []
    for activation in (None, nn.LeakyReLU):
        d = StarDiscriminator(spec, layers=3)
        for i, layer in enumerate(d.layers):
            if activation and isinstance(layer, LeakyReLU):
                d.layers[i] = activation(layer.negative_slope)
        with _Multiplications() as counter:
            gradient_penalty(lambda x, d=d: d(x)[0], *torch.randn(2, 2, 3, 1, 16, 16), torch.rand(2)).backward()
        flops.append(counter.flops)
    assert 0.5 < flops[0] / flops[1] < 0.75
