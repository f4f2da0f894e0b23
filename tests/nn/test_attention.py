"""Attention of clips: the explicit softmax, who meets whom, what order and place mean, and the gate."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidiff.nn import attention
from vidiff.nn.attention import CrossLayerAttention, SelfAttention, rotated

OVER = ["space", "time", "both"]


def opened(layer: torch.nn.Module) -> torch.nn.Module:
    torch.nn.init.constant_(layer.gate, 0.7)
    return layer.double()


def clip(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("shape", [(2, 8, 4, 6, 5), (1, 8, 1, 1, 1), (1, 8, 9, 2, 3)])
def test_any_clip_keeps_its_shape_and_a_new_layer_is_the_identity(over, shape):
    x = torch.randn(shape)
    layer = SelfAttention(8, over)
    assert torch.equal(layer(x), x)
    late = CrossLayerAttention(8, 6, over=over)
    assert torch.equal(late(x, torch.randn(shape[0], 6, 2, 3, 3)), x)


def by_hand(layer, late, early, group):
    """The formula token by token. `group((t, h, w), (t', h', w'))`: whether the two meet."""
    mix = lambda conv, v: conv.weight[:, :, 0, 0, 0] @ v  # noqa: E731
    _, c, frames, height, width = late.shape
    d, half = c // layer.heads, c // layer.heads // 2

    def turned(v, time):
        if layer.over == "space":
            return v
        v = v.clone()
        for head in range(layer.heads):
            for i in range(half):
                angle, at = time / 10_000 ** (i / half), head * d
                a, b = v[at + i].clone(), v[at + i + half].clone()
                v[at + i] = a * math.cos(angle) - b * math.sin(angle)
                v[at + i + half] = a * math.sin(angle) + b * math.cos(angle)
        return v

    out = late.clone()
    step = frames / early.shape[2]
    for t in range(frames):
        for h in range(height):
            for w in range(width):
                query = turned(mix(layer.query, late[0, :, t, h, w]), t + 0.5)
                others = [o for o in torch.cartesian_prod(*map(torch.arange, early.shape[2:])).tolist()]
                others = [o for o in others if group((t, h, w), o)]
                keys = [turned(mix(layer.key, early[0, :, a, b, e]), (a + 0.5) * step) for a, b, e in others]
                values = [mix(layer.value, early[0, :, a, b, e]) for a, b, e in others]
                found = []
                for part in (slice(i * d, (i + 1) * d) for i in range(layer.heads)):
                    scores = torch.stack([(query[part] * k[part]).sum() / math.sqrt(d) for k in keys])
                    share = scores.exp() / scores.exp().sum()
                    found.append(sum(s * v[part] for s, v in zip(share, values)))
                out[0, :, t, h, w] += layer.gate * mix(layer.out, torch.cat(found))
    return out


MEETS = {
    "space": lambda me, other: me[0] == other[0],
    "time": lambda me, other: me[1:] == tuple(other[1:]),
    "both": lambda me, other: True,
}


@pytest.mark.parametrize("over", OVER)
def test_self_attention_is_the_softmax_formula(over):
    layer, x = opened(SelfAttention(8, over, heads=2)), clip(1, 8, 3, 2, 2)
    expected = by_hand(layer, x, x, MEETS[over])
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=2e-6)  # angles are float32


@pytest.mark.parametrize("over", OVER)
def test_cross_layer_attention_meets_the_nearest_of_another_size(over):
    layer = opened(CrossLayerAttention(4, 6, heads=2, over=over))
    late, early = clip(1, 4, 4, 4, 2), clip(1, 6, 2, 2, 1, seed=1)
    meets = {
        "space": lambda me, other: me[0] // 2 == other[0],
        "time": lambda me, other: (me[1] // 2, me[2] // 2) == tuple(other[1:]),
        "both": lambda me, other: True,
    }
    expected = by_hand(layer, late, early, meets[over])
    torch.testing.assert_close(layer(late, early), expected, rtol=0, atol=2e-6)


def test_who_sees_whom():
    x = clip(1, 8, 3, 4, 4).requires_grad_()
    for over, seen_by in [("space", (1, 16)), ("time", (3, 1)), ("both", (3, 16))]:
        (grad,) = torch.autograd.grad(opened(SelfAttention(8, over))(x)[0, :, 1, 2, 2].square().sum(), x)
        touched = grad[0].abs().sum(0) > 0  # (T, H, W)
        assert (int(touched.any(2).any(1).sum()), int(touched.any(0).sum())) == seen_by


def test_space_has_no_place_and_frames_do_not_meet():
    layer, x = opened(SelfAttention(8, "space")), clip(2, 8, 3, 4, 5)
    pixels, frames = torch.randperm(20), torch.tensor([2, 0, 1])
    shuffled = x.flatten(3)[..., pixels].view_as(x)
    torch.testing.assert_close(layer(shuffled), layer(x).flatten(3)[..., pixels].view_as(x))
    torch.testing.assert_close(layer(x[:, :, frames]), layer(x)[:, :, frames])


@pytest.mark.parametrize("over", ["time", "both"])
def test_time_has_an_order_but_no_beginning(over):
    """A shuffled clip is another clip; the score of two frames knows their distance alone."""
    layer, x = opened(SelfAttention(8, over)), clip(1, 8, 5, 2, 3)
    pixels, back = torch.randperm(6), torch.tensor([4, 3, 2, 1, 0])
    shuffled = x.flatten(3)[..., pixels].view_as(x)
    torch.testing.assert_close(layer(shuffled), layer(x).flatten(3)[..., pixels].view_as(x))
    assert not torch.allclose(layer(x[:, :, back]), layer(x)[:, :, back], atol=1e-3)
    q, k, time = clip(5, 8), clip(5, 8, seed=1), torch.arange(5.0)
    here, later = (rotated(q, time + s) @ rotated(k, time + s).T for s in (0.0, 37.0))
    torch.testing.assert_close(here, later, rtol=0, atol=1e-4)  # angles are float32
    torch.testing.assert_close(rotated(q, time).norm(dim=1), q.norm(dim=1), rtol=0, atol=1e-5)


def test_pooled_keys_are_fewer_and_strided():
    layer, x = opened(SelfAttention(8, "space", pool=2)), clip(1, 8, 2, 6, 5)
    assert layer.key(x).shape == (1, 8, 2, 3, 2) and layer(x).shape == x.shape
    one, four = SelfAttention(8, "both"), SelfAttention(8, "both", pool=2)
    assert four.key.weight.numel() == 4 * one.key.weight.numel()


@pytest.mark.parametrize("over", OVER)
def test_gradients_reach_everything(over):
    layer, x = SelfAttention(8, over), torch.randn(1, 8, 3, 2, 2)
    layer(x).square().sum().backward()
    assert float(layer.gate.grad.abs()) > 0  # the gate opens first ...
    torch.nn.init.ones_(layer.gate)
    layer(x).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in layer.parameters())  # ... then all learn


def test_second_derivatives_under_the_plain_kernel():
    layer, x = opened(SelfAttention(4, "time", heads=2)), clip(1, 4, 2, 1, 1).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradcheck(layer, (x,)) and torch.autograd.gradgradcheck(layer, (x,))


def test_more_rows_than_a_kernel_takes(monkeypatch):
    layer, x = opened(SelfAttention(8, "time")), clip(2, 8, 3, 4, 4)
    whole = layer(x)
    monkeypatch.setattr(attention, "LARGEST_BATCH", 5)
    torch.testing.assert_close(layer(x), whole)


@pytest.mark.parametrize("over", OVER)
def test_the_fused_kernels_get_what_they_take(over, monkeypatch):
    """Strided channels would send everything through the plain kernel, which holds all scores at once."""
    strides, plain = [], F.scaled_dot_product_attention
    spy = lambda *tokens: strides.extend(t.stride(-1) for t in tokens) or plain(*tokens)  # noqa: E731
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", spy)
    SelfAttention(8, over)(torch.randn(2, 8, 2, 3, 3))
    assert strides == [1, 1, 1]


@pytest.mark.parametrize(
    "bad, word",
    [
        (dict(channels=6), "multiple of heads"),
        (dict(channels=8, over="depth"), "space, time or both"),
        (dict(channels=4, over="time"), "2 channels a head"),
        (dict(channels=8, over="time", pool=2), "pool"),
    ],
)
def test_what_cannot_work_is_refused(bad, word):
    with pytest.raises(ValueError, match=word):
        SelfAttention(**bad)
