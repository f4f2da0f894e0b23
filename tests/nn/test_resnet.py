"""Translation networks: published sizes, shapes, what a frame sees, skips."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import count_parameters
from vidiff.nn.resnet import (
    NextFrame,
    PatchDiscriminator,
    ResnetGenerator,
    StarDiscriminator,
    StarGenerator,
    has_clip_statistics,
    time_radius,
)

SMALL = ClipSpec(num_frames=8, resolution=16, width=4, num_classes=3)


@pytest.mark.parametrize("conv", ["full", "factorized"])
@pytest.mark.parametrize("padding", ["replicate", "reflect", "zeros"])
@pytest.mark.parametrize("frames, height, width", [(8, 16, 16), (5, 24, 12), (1, 16, 32)])
def test_generators_keep_the_shape_of_any_clip(conv, padding, frames, height, width):
    clip = torch.randn(2, 3, frames, height, width)
    label = torch.tensor([0, 2])
    for network in (ResnetGenerator(SMALL, 1, conv, padding), StarGenerator(SMALL, 1, conv, padding)):
        out = network(clip, label)
        assert out.shape == clip.shape and float(out.detach().abs().max()) <= 1.0


def test_a_new_factorized_generator_works_frame_by_frame():
    """Its temporal kernels begin as the identity: the same weights give each frame's own translation."""
    network = ResnetGenerator(SMALL, 2, "factorized", norm="frame").double()
    clip = torch.randn(1, 3, 4, 16, 16, dtype=torch.float64)
    alone = torch.cat([network(clip[:, :, i : i + 1]) for i in range(4)], dim=2)
    torch.testing.assert_close(network(clip), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("conv", ["full", "factorized"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_frame_depends_on_its_time_radius_and_no_more(conv, blocks):
    spec = ClipSpec(num_frames=8, resolution=8, width=2)
    network = ResnetGenerator(spec, blocks, conv, norm="none").double()
    for p in network.parameters():
        torch.nn.init.uniform_(p, 0.02, 0.06)  # no dead units, no cancelling
    radius = time_radius(network)
    assert radius == 2 + 2 * blocks
    clip = torch.rand(1, 3, 2 * radius + 3, 8, 8, dtype=torch.float64).requires_grad_()
    middle = radius + 1
    network.layers[:-1](clip)[:, :, middle].sum().backward()  # before tanh, which saturates
    seen = clip.grad.abs().sum((0, 1, 3, 4)) > 0
    assert seen.tolist() == [abs(i - middle) <= radius for i in range(clip.shape[2])]


def test_which_norms_look_at_the_whole_clip():
    verdicts = {n: has_clip_statistics(ResnetGenerator(SMALL, 1, norm=n)) for n in ("instance", "frame", "none")}
    assert verdicts == {"instance": True, "frame": False, "none": False}


EXTRAS = [dict(temporal=k) for k in ("lstm", "gru", "convlstm", "conv")] + [
    dict(attention=a) for a in ("space", "time", "both")
]


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda e: "-".join(e.values()))
def test_options_begin_as_the_published_network_and_bound_their_windows(extra):
    """The same seed gives the same output with them; only what looks at all frames has no bound in time."""
    torch.manual_seed(0)
    plain = ResnetGenerator(SMALL, 2, norm="frame")
    torch.manual_seed(0)
    network, clip = ResnetGenerator(SMALL, 2, norm="frame", **extra), torch.randn(1, 3, 5, 16, 20)
    torch.testing.assert_close(network(clip), plain(clip))
    assert [type(m).__name__ for m in network.layers[9:12]].index("ResidualBlock") == 0  # in the middle of the blocks
    assert type(network.layers[10]).__name__ in ("TemporalEncoder", "SelfAttention")
    bounded = extra in (dict(temporal="conv"), dict(attention="space"))
    assert has_clip_statistics(network) is not bounded
    if bounded:
        assert time_radius(network) == time_radius(plain) + (14 if "temporal" in extra else 0)
    loss = network(clip).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_option_conv_reaches_no_further_than_the_radius():
    spec = ClipSpec(num_frames=8, resolution=8, width=2)
    network = ResnetGenerator(spec, 1, norm="none", temporal="conv").double()
    for p in network.parameters():
        torch.nn.init.uniform_(p, 0.02, 0.06)
    radius = time_radius(network)
    clip = torch.rand(1, 3, 2 * radius + 3, 8, 8, dtype=torch.float64).requires_grad_()
    network.layers[:-1](clip)[:, :, radius + 1].sum().backward()
    seen = torch.nonzero(clip.grad.abs().sum((0, 1, 3, 4)) > 0).flatten().tolist()
    assert radius == 18 and seen == list(range(1, radius + 6))  # 18 before, 4 after: the encoder is causal


def test_both_options_at_once_and_the_default_keys_are_as_ever():
    plain, both = ResnetGenerator(SMALL, 2), ResnetGenerator(SMALL, 2, temporal="gru", attention="space")
    assert [type(m).__name__ for m in both.layers[10:12]] == ["TemporalEncoder", "SelfAttention"]
    assert list(plain.state_dict())[:2] == ["layers.0.space.weight", "layers.0.space.bias"]
    assert {k.split(".")[1] for k in plain.state_dict()} == {"0", "3", "6", "9", "10", "11", "14", "17"}


def test_next_frame_predicts_from_two_frames_alone():
    network = NextFrame(SMALL).double()
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.1)
    clip = torch.randn(2, 3, 5, 16, 16, dtype=torch.float64)
    out = network(clip)
    assert out.shape == (2, 3, 4, 16, 16)
    for i in range(4):
        torch.testing.assert_close(network(clip[:, :, i : i + 2])[:, :, 0], out[:, :, i])
    order = network(clip[:, :, [1, 0]])
    assert not torch.allclose(order[:, :, 0], out[:, :, 0], atol=1e-3)


@pytest.mark.parametrize(
    "frames, resolution, patch", [(8, 32, (2, 2, 2)), (8, 16, (2, 2, 2)), (1, 32, (1, 2, 2)), (5, 64, (1, 6, 6))]
)
def test_patch_discriminator_leaves_a_grid(frames, resolution, patch):
    spec = ClipSpec(num_frames=frames, resolution=resolution, width=4)
    clip = torch.randn(2, 3, frames, resolution, resolution)
    logits = PatchDiscriminator(spec)(clip)
    assert logits.shape[:2] == (2, 1) and tuple(logits.shape[2:])[1:] == patch[1:]
    assert logits.shape[2] >= 1


def test_published_patch_is_70_pixels():
    network = PatchDiscriminator(ClipSpec(num_frames=1, resolution=128, width=2), norm="none").double()
    clip = torch.randn(1, 3, 1, 128, 128, dtype=torch.float64).requires_grad_()
    logits = network(clip)
    assert logits.shape[2:] == (1, 14, 14)  # 128 -> 64 -> 32 -> 16 -> 15 -> 14
    logits[0, 0, 0, 7, 7].backward()
    seen = clip.grad[0].abs().sum((0, 1)) > 0  # (128, 128)
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70


@pytest.mark.parametrize("frames, resolution", [(8, 16), (8, 32), (1, 128), (6, 64)])
def test_star_discriminator_answers_both_questions(frames, resolution):
    spec = ClipSpec(num_frames=frames, resolution=resolution, width=2, num_classes=5)
    source, domain = StarDiscriminator(spec)(torch.randn(2, 3, frames, resolution, resolution))
    assert source.shape[:2] == (2, 1) and source.shape[-2:] == (2, 2) and domain.shape == (2, 5)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("norm", ["instance", "frame"])
def test_the_label_matters_and_is_checked(padding, norm):
    """A norm right behind constant planes would take them out: what is left then is rounding, 1e-6 of the signal."""
    network = StarGenerator(SMALL, 1, padding=padding, norm=norm).double()
    clip = torch.randn(1, 3, 8, 16, 16, dtype=torch.float64)
    one, two = network(clip, torch.tensor([0])), network(clip, torch.tensor([1]))
    assert float((one - two).std() / one.std()) > 0.05
    with pytest.raises(RuntimeError):
        network(clip, torch.tensor([3]))


@pytest.mark.parametrize("bad", [dict(conv="half"), dict(norm="batch")])
def test_wrong_words_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        ResnetGenerator(SMALL, 1, **bad)


def test_published_counts_come_from_the_networks_alone():
    two = ClipSpec(num_frames=1, resolution=128, width=64)
    g, d = count_parameters(ResnetGenerator(two, padding="reflect")), count_parameters(PatchDiscriminator(two))
    assert (g, d, 2 * (g + d)) == (11_378_179, 2_764_737, 28_285_832)


@pytest.mark.parametrize("make", [ResnetGenerator, StarGenerator])
def test_a_skip_begins_as_a_copy_and_learns(make):
    network, label = make(SMALL, blocks=1, skip=True), torch.tensor([0, 2])
    clip = torch.empty(2, 3, 8, 16, 16).uniform_(-1, 1).requires_grad_()
    out = network(clip, label)
    torch.testing.assert_close(out, torch.tanh(1.5 * clip))
    assert 0.1 < (out - clip).abs().max() < 0.15
    out.sum().backward()
    moved = [network.skip.weight.grad, network.skip.bias.grad, network.layers[-2].space.weight.grad]
    assert all(g.abs().max() > 0 for g in moved)
    plain = make(SMALL, blocks=1)
    assert count_parameters(network) - count_parameters(plain) == network.skip.weight.numel() + 3
    assert set(network.state_dict()) - set(plain.state_dict()) == {"skip.weight", "skip.bias"}


def test_resizing_leaves_no_grid_where_transposed_convolutions_do():
    """Of a flat clip the layer that doubles the sides makes a flat one, or a grid of period two."""
    flat, spread = torch.full((1, 3, 2, 16, 16), 0.3), {}
    for up in ("transposed", "resize"):
        torch.manual_seed(0)
        network = ResnetGenerator(SMALL, blocks=1, up=up, norm="none")
        layer = network.layers[-5]  # u64; then its norm, ReLU, c7s1-3, tanh
        out = layer(torch.full((1, 2 * SMALL.width, 2, 16, 16), 0.3))
        assert out.shape == (1, SMALL.width, 2, 32, 32) and network(flat).shape == flat.shape
        inner = out[..., 2:-2, 2:-2]
        spread[up] = ((inner - inner.mean((-2, -1), keepdim=True)).abs().max() / inner.abs().max()).item()
    assert spread["resize"] < 1e-5 < 0.1 < spread["transposed"]


def test_the_state_of_a_skip_without_gain_is_read_as_what_it_computed():
    """Checkpoints of the first version hold W and b, not W / g and b / g."""
    network = ResnetGenerator(SMALL, blocks=1, skip=True)
    torch.nn.init.normal_(network.skip.bias)
    state, clip = network.state_dict(), torch.rand(1, 3, 2, 16, 16) * 2 - 1
    expected = network(clip)
    for name in ("skip.weight", "skip.bias"):
        state[name] = state[name] * network.skip.gain
    state._metadata["skip"]["version"] = 1
    other = ResnetGenerator(SMALL, blocks=1, skip=True)
    other.load_state_dict(state)
    torch.testing.assert_close(other(clip), expected, atol=1e-6, rtol=1e-6)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(clip), expected)


def test_up_must_be_one_of_two():
    with pytest.raises(ValueError, match="transposed or resize"):
        ResnetGenerator(SMALL, up="bilinear")
