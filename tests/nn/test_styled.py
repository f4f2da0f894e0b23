"""Networks that are told the target at every layer: shapes, the copy they begin as, what the code reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.resnet import has_clip_statistics
from vidiff.nn.styled import DomainDiscriminator, StyledGenerator, StyledNorm

SMALL = ClipSpec(num_frames=8, resolution=16, width=4, num_classes=3)


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """With weights as after some training, where nothing is 0 any more."""
    torch.manual_seed(1)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.1)
    return network.double()


@pytest.mark.parametrize("frames, height, width", [(8, 16, 16), (5, 24, 12), (1, 16, 32)])
@pytest.mark.parametrize("up", ["resize", "transposed"])
def test_the_shape_of_any_clip_is_kept(frames, height, width, up):
    clip = torch.randn(2, 3, frames, height, width)
    network = StyledGenerator(SMALL, blocks=1, up=up)
    out = network(clip, torch.tensor([0, 2]))
    assert out.shape == clip.shape and float(out.detach().abs().max()) <= 1.0
    assert has_clip_statistics(network)  # a window of a video does not give what the whole would


def test_it_begins_as_a_copy_and_everything_learns():
    network = StyledGenerator(SMALL, blocks=1)
    clip = torch.empty(2, 3, 8, 16, 16).uniform_(-1, 1)
    out = network(clip, torch.tensor([0, 2]))
    torch.testing.assert_close(out, torch.tanh(1.5 * clip))
    (out - 0.3).square().sum().backward()
    assert network.colors.weight.grad.abs().max() > 0 and network.last.space.weight.grad.abs().max() > 0
    stirred(network)(clip.double(), torch.tensor([0, 2])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_a_clip_is_translated_by_itself():
    network, clips = stirred(StyledGenerator(SMALL, blocks=1)), torch.randn(3, 3, 8, 16, 16, dtype=torch.float64)
    label = torch.tensor([0, 1, 2])
    alone = torch.cat([network(clips[i : i + 1], label[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(clips, label), alone)


def test_the_color_transform_alone_is_affine_with_the_code_it_is_told():
    """Without the drawn part: tanh(A x + b), A and b by hand from the layers."""
    network = stirred(StyledGenerator(SMALL, blocks=1))
    for p in network.last.parameters():
        torch.nn.init.zeros_(p)
    clip, label = torch.randn(1, 3, 8, 16, 16, dtype=torch.float64), torch.tensor([1])
    code = network.look(clip, network.enter(clip), label)
    numbers = (network.colors.weight @ code[0] + network.colors.bias).detach()
    matrix, offset = numbers[:9].view(3, 3) + 1.5 * torch.eye(3), numbers[9:]
    flat = clip.flatten(2)[0]  # (3, T H W)
    expected = torch.tanh(matrix @ flat + offset[:, None]).view_as(clip)
    torch.testing.assert_close(network(clip, label), expected)
    other = network(clip, torch.tensor([2]))
    assert float((other - expected).detach().abs().max()) > 0.01


def test_the_norm_is_an_instance_norm_with_scale_and_offset_of_the_code():
    norm, x, code = StyledNorm(4, 5).double(), torch.randn(2, 4, 3, 6, 6).double(), torch.randn(2, 5).double()
    affine = code @ norm.affine.weight.T + norm.affine.bias  # (B, 2 C)
    mean, var = x.mean((2, 3, 4), keepdim=True), x.var((2, 3, 4), correction=0, keepdim=True)
    scale, offset = (part[:, :, None, None, None] for part in (1 + affine[:, :4], affine[:, 4:]))
    torch.testing.assert_close(norm(x, code), (x - mean) / (var + 1e-5).sqrt() * scale + offset)


@pytest.mark.parametrize("frames, layers", [(8, 2), (1, 2), (8, 1), (5, 3)])
def test_the_discriminator_answers_for_the_domain_that_it_is_asked_about(frames, layers):
    spec = replace(SMALL, num_frames=frames)
    network, clip = DomainDiscriminator(spec, layers), torch.randn(3, 3, frames, 16, 16)
    label = torch.tensor([2, 0, 2])
    logits = network(clip, label)
    maps = network.layers(clip)
    assert logits.shape[:2] == (3, 1) and maps.shape[1] == 3
    assert torch.equal(logits[:, 0], torch.stack([maps[i, k] for i, k in enumerate(label.tolist())]))


def test_a_label_that_is_none_is_refused():
    with pytest.raises((IndexError, RuntimeError)):
        DomainDiscriminator(SMALL)(torch.zeros(1, 3, 8, 16, 16), torch.tensor([3]))
    with pytest.raises((IndexError, RuntimeError)):
        StyledGenerator(SMALL, blocks=1)(torch.zeros(1, 3, 8, 16, 16), torch.tensor([3]))
