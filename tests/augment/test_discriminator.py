"""Discriminator augmentation: formulas against loops, two derivatives, keys, processes."""

from __future__ import annotations

import pytest
import torch
from helpers import same_but_for_rounding
from torch import nn

from vidiff.augment import AdaptiveAugment, DiffAugment
from vidiff.errors import UsageError

KEY = (5, "d", 11)


def clips(b=6, c=3, t=5, h=16, w=16):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(2)) * 2 - 1


def augments():
    return [
        DiffAugment(("color",)),
        DiffAugment(("translation",)),
        DiffAugment(("cutout",)),
        DiffAugment(("time",)),
        DiffAugment(DiffAugment.POLICIES),
        AdaptiveAugment(start=0.7),
        AdaptiveAugment(start=1.0, geometry=False),
        AdaptiveAugment(start=1.0, color=False),
    ]


@pytest.mark.parametrize("augment", augments(), ids=str)
def test_key_processes_and_frames(augment):
    clip, before = clips(), torch.get_rng_state()
    whole = augment(clip, KEY)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(augment(clip, KEY), whole) and not torch.equal(augment(clip, (*KEY, 1)), whole)
    parts = torch.cat([augment(clip[:4], KEY, 0, 6), augment(clip[4:], KEY, 4, 6)])
    assert same_but_for_rounding(parts, whole)
    still = clip[:1, :, :1].expand(6, 3, 5, 16, 16)
    out = augment(still, KEY)
    assert len({row.numpy().tobytes() for row in out}) > 1
    if "time" not in getattr(augment, "policy", ()):
        assert (out - out[:, :, :1]).abs().max() < 1e-6
    with pytest.raises(ValueError, match="global batch"):
        augment(clip, KEY, 2, 6)


@pytest.mark.parametrize("augment", augments(), ids=str)
def test_differentiates_twice(augment):
    clip = clips(1, 3, 2, 4, 4).double().requires_grad_()  # large enough for a shift by one pixel
    assert torch.autograd.gradcheck(lambda x: augment(x, KEY), clip)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, KEY) ** 2, clip)


def test_gradient_penalty_reaches_the_weights():
    net = nn.Conv3d(3, 1, 3)
    clip = clips().requires_grad_()
    for augment in (DiffAugment(DiffAugment.POLICIES), AdaptiveAugment(start=0.5)):
        logits = net(augment(clip, KEY)).tanh()
        (grad,) = torch.autograd.grad(logits.sum(), clip, create_graph=True)
        grad.flatten(1).norm(dim=1).sum().backward()
        assert net.weight.grad.isfinite().all() and net.weight.grad.abs().sum() > 0
        net.zero_grad()


def test_color_formula():
    clip, u = clips(), torch.rand(6, 3)
    out = DiffAugment._color(clip, u)
    for i in range(6):
        x = clip[i].double() + (u[i, 0] - 0.5)
        m = x.mean(0, keepdim=True)
        x = (x - m) * 2 * u[i, 1] + m
        x = (x - x.mean()) * (u[i, 2] + 0.5) + x.mean()
        assert torch.allclose(out[i].double(), x, atol=1e-6)


@pytest.mark.parametrize("u, dx, dy", [(0.0, -2, -2), (0.5, 0, 0), (0.999, 2, 2)])
def test_translation_by_whole_pixels_with_zeros(u, dx, dy):
    clip = clips(1)
    out = DiffAugment._translation(clip, torch.full((1, 3), u))
    expected = torch.zeros_like(clip)
    for y in range(16):
        for x in range(16):
            if 0 <= y + dy < 16 and 0 <= x + dx < 16:
                expected[..., y, x] = clip[..., y + dy, x + dx]
    assert torch.equal(out, expected)


def test_translation_and_time_shift_are_uniform():
    u = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    ramp = torch.arange(1.0, 17).expand(4000, 1, 1, 1, 16)
    # Whoever stands at column 8 tells the shift.
    shift = DiffAugment._translation(ramp, u)[:, 0, 0, 0, 8] - 9
    counts = torch.stack([(shift == s).float().mean() for s in range(-2, 3)])
    assert (counts - 0.2).abs().max() < 0.03
    time = torch.arange(1.0, 17).view(1, 1, 16, 1, 1).expand(4000, 1, 16, 1, 1)
    out = DiffAugment._time(time, u)[:, 0, :, 0, 0]
    assert set((out[:, 8] - 9).tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert ((out == 0).sum(1) == (out[:, 8] - 9).abs()).all()  # as many empty frames as the shift is long
    assert torch.equal(DiffAugment._time(clips(2, 1, 1), u[:2]), clips(2, 1, 1))


def test_cutout_is_a_square_of_half_the_size():
    u = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    hole = DiffAugment._cutout(torch.ones(2000, 1, 1, 16, 16), u)[:, 0, 0] == 0
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    assert rows.max() == 8 and rows.min() >= 4 and columns.max() == 8
    assert abs(hole.any(2)[:, 0].float().mean() - 5 / 17) < 0.04  # middles 0..4 of 0..16 cover the first row


def test_policy_names():
    assert DiffAugment(["cutout", "color"]).policy == ("color", "cutout")
    assert DiffAugment("time").policy == ("time",)
    with pytest.raises(UsageError, match="color, translation, cutout, time"):
        DiffAugment(["colour"])
    with pytest.raises(UsageError, match="accepted"):
        AdaptiveAugment(target=2.0)
