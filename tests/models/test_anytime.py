"""Anytime GAN: its terms against plain formulas, which frames it looks at, clips of any length."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, losses_of, numbers

from vidiff.errors import UsageError
from vidiff.models.anytime import AnytimeGAN
from vidiff.models.turn import Turn


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def _batch() -> dict:
    batch = Clips().batch(0)
    return batch | {"clip": batch["clip"].double()}


def test_terms_of_a_batch_with_penalty():
    model = AnytimeGAN(frames=2, r1_gamma=0.7, r1_every=3, **TINY).double()
    batch = _batch()
    turn = Turn(model, "d", batch)
    times = model.times(turn)
    some = torch.stack([clip[:, t] for clip, t in zip(batch["clip"], times)]).requires_grad_()
    logits = model.discriminator(some, None, times.double())
    (gradient,) = torch.autograd.grad(logits.sum(), some)
    got = numbers(model.discriminator_losses(turn))
    assert got["r1"] == pytest.approx(0.7 * 3 / 2 * gradient.square().sum().item() / 4, rel=1e-9)
    assert got["real"] == pytest.approx(sum(_softplus(-x) for x in logits.tolist()) / 4, abs=1e-9)
    fake = model.generator(model.latents(batch["slot"].tolist(), "d", 0), None, times.double())
    logits = model.discriminator(fake, None, times.double()).tolist()
    assert got["fake"] == pytest.approx(sum(_softplus(x) for x in logits) / 4, abs=1e-9)
    times = model.times(Turn(model, "g", batch)).double()
    fake = model.generator(model.latents(batch["slot"].tolist(), "g", 0), None, times)
    expected = sum(_softplus(-x) for x in model.discriminator(fake, None, times).tolist()) / 4
    assert numbers(losses_of(model, "g", batch)) == {"adv": pytest.approx(expected, abs=1e-9)}


def test_the_penalty_comes_every_so_often():
    model = AnytimeGAN(r1_every=3, **TINY)
    batch = Clips().batch(0)
    seen = []
    for model.batches_seen in range(7):
        seen.append("r1" in losses_of(model, "d", batch))
    assert seen == [True, False, False, True, False, False, True]
    assert "r1" not in losses_of(AnytimeGAN(r1_gamma=0.0, **TINY), "d", batch)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 7])
def test_frames_are_different_increasing_and_a_function_of_the_slot(frames):
    model = AnytimeGAN(frames=frames, **TINY | {"num_frames": 7})
    slots = torch.arange(300)
    times = model.times(Turn(model, "d", {"slot": slots}))
    assert times.shape == (300, frames) and (times.diff(dim=1) > 0).all()
    assert times.min() == 0 and times.max() == 6
    spans = (times[:, -1] - times[:, 0]).bincount(minlength=7)
    if 1 < frames < 7:  # every span of k to 7 frames equally often
        expected = 300 / (8 - frames)
        assert ((spans[frames - 1 :] - expected).abs() < 4.5 * expected**0.5).all()
    assert torch.equal(model.times(Turn(model, "d", {"slot": slots[5:9]})), times[5:9])
    assert frames == 7 or not torch.equal(model.times(Turn(model, "g", {"slot": slots})), times)


def test_any_length():
    model = AnytimeGAN(num_classes=2, **TINY).eval()
    long, short = model.sample(2, num_frames=9), model.sample(2)
    assert long.shape == (2, 3, 9, 16, 16) and torch.equal(long[:, :, :4], short)
    assert not torch.equal(model.sample(1, labels=[0]), model.sample(1, labels=[1]))


def test_what_it_refuses():
    with pytest.raises(UsageError, match="model.frames must be at least 1"):
        AnytimeGAN(frames=0, **TINY)
    with pytest.raises(UsageError, match="r1_gamma must not be negative"):
        AnytimeGAN(r1_gamma=-1.0, **TINY)
