"""Segments: what is reordered and joined, how it fades, and where the labels go."""

from __future__ import annotations

import pytest
import torch

from vidiff.augment import Reversal, ShuffleSegments, SlowMotion, Splice, build_augment
from vidiff.errors import UsageError


def counting(b=4, t=12):
    """Clips whose frame k of clip i shows the value (100 i + k) / 100000."""
    value = (100 * torch.arange(b)[:, None] + torch.arange(t)) / 10000
    return value[:, None, :, None, None].expand(b, 3, t, 2, 2).contiguous()


def numbers(clip):
    return (clip[:, 0, :, 0, 0] * 10000).round().long()


def test_shuffle_keeps_every_frame_once_and_runs_intact():
    out = numbers(build_augment([ShuffleSegments((3, 3), p=1.0)])(counting(64), (1,))) % 100
    assert torch.equal(out.sort(1).values, torch.arange(12).expand(64, 12))
    joints = (out.diff(dim=1) != 1).sum(1)
    assert joints.max() == 2 and joints.float().mean() > 1  # fewer where neighbours kept their order
    assert len({tuple(row) for row in out.tolist()}) > 40


def test_shuffle_with_reversed_segments():
    out = numbers(build_augment([ShuffleSegments((1, 1), reverse=1.0, p=1.0)])(counting(), (1,))) % 100
    assert torch.equal(out, torch.arange(12).flip(0).expand(4, 12))


def test_shuffle_fades_over_the_continuation():
    fade, t = 2, 12
    hard = numbers(build_augment([ShuffleSegments((2, 2), p=1.0)])(counting(32, t), (5,))) % 100
    soft = build_augment([ShuffleSegments((2, 2), fade=fade, p=1.0)])(counting(32, t), (5,))
    soft = soft[:, 0, :, 0, 0] * 10000 - 100 * torch.arange(32)[:, None]
    for i in range(32):
        row, expected = hard[i].tolist(), hard[i].double().clone()
        for j in range(1, t):
            if abs(row[j] - row[j - 1]) == 1:
                continue
            step = row[j - 1] - row[j - 2] if j >= 2 and abs(row[j - 1] - row[j - 2]) == 1 else 0
            for age in range(1, min(fade, t - j) + 1):
                ghost = min(max(row[j - 1] + step * age, 0), t - 1)
                weight = age / (fade + 1)
                expected[j + age - 1] = (1 - weight) * ghost + weight * row[j + age - 1]
        assert torch.allclose(soft[i].double(), expected, atol=1e-2, rtol=0)


def test_splice_takes_the_same_frames_of_the_neighbour_and_labels_follow():
    clip, label = counting(8), torch.arange(8)
    out, mix = build_augment([Splice((0.25, 0.5), p=1.0)])(clip, (1,), label=label)
    shown = numbers(out)
    assert torch.equal(shown % 100, torch.arange(12).expand(8, 12))  # time goes on
    source = shown // 100
    own = source == label[:, None]
    assert (own | (source == (label ^ 1)[:, None])).all()
    assert torch.equal(mix.label, label) and torch.equal(mix.other, label ^ 1)
    assert torch.allclose(mix.weight, own.float().mean(1))
    assert mix.weight.min() >= 0.5 and mix.weight.max() <= 0.75
    assert ((own[:, 1:] != own[:, :-1]).sum(1) <= 2).all()  # one segment
    soft = mix.soft(8)
    assert torch.allclose(soft.sum(1), torch.ones(8)) and torch.allclose(soft[torch.arange(8), label], mix.weight)


def test_splice_fade_matches_label_weight():
    clip, label = counting(64, 16), torch.arange(64)
    out, mix = build_augment([Splice((0.4, 0.6), fade=4, p=1.0)])(clip, (1,), label=label)
    frame = out[:, 0, :, 0, 0] * 10000 - torch.arange(16)
    weight = (frame / 100 - label[:, None]) / ((label ^ 1) - label)[:, None]  # share of the partner in each frame
    assert weight.min() > -1e-3 and weight.max() < 1 + 1e-3
    assert weight.diff(dim=1).abs().max() < 0.25 + 1e-3
    assert torch.allclose(1 - weight.mean(1), mix.weight, atol=1e-3)


@pytest.mark.parametrize("between", [[], [Reversal(p=0.5), SlowMotion(p=0.5, mode="nearest"), ShuffleSegments(p=0.5)]])
def test_splicing_twice_keeps_account(between):
    clip, label = counting(64, 16), torch.arange(64)
    ops = [Splice((0.2, 0.5), p=0.7), *between, Splice((0.2, 0.5), p=0.7)]
    out, mix = build_augment(ops)(clip, (3,), label=label)
    own = (numbers(out) // 100 == label[:, None]).float().mean(1)
    assert torch.allclose(own, mix.weight, atol=1e-6)
    assert len(mix.weight.unique()) > 5


def test_a_clip_without_neighbour_stays_as_it_is():
    clip, label = counting(3), torch.arange(3)
    out, mix = build_augment([Splice(p=1.0)])(clip, (1,), label=label)
    assert torch.equal(out[2], clip[2]) and mix.weight[2] == 1 and mix.other[2] == 2


def test_p_zero_and_no_label():
    clip = counting()
    assert torch.equal(build_augment([Splice(p=0.0)])(clip, (1,)), clip)
    out, mix = build_augment("none")(clip, (1,), label=torch.zeros(4, dtype=torch.long))
    assert torch.equal(out, clip) and torch.equal(mix.weight, torch.ones(4))


def test_splice_differentiates_twice():
    op = Splice((0.5, 0.5), fade=2, p=1.0)
    clip = torch.rand(2, 1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    params = op.forward_parameters(clip.shape)
    assert torch.autograd.gradcheck(lambda x: op(x, params=params), clip)
    assert torch.autograd.gradgradcheck(lambda x: op(x, params=params) ** 2, clip)


def test_bad_settings():
    for make in (lambda: Splice((0.5, 1.2)), lambda: Splice(fade=-1), lambda: ShuffleSegments(reverse=2.0)):
        with pytest.raises(UsageError, match="accepted"):
            make()
