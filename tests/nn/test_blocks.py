"""What networks are made of: initial weights, norms and which of them mix clips, spectral norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff import keyed
from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Conv3d, ConvTranspose3d, count_parameters, initialize, mixes_clips, norm_layer
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.progressive import minibatch_stddev


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
