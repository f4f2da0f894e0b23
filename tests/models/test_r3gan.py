"""R3GAN: its loss terms against independent formulas, its networks' initial state, its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, fakes_of, losses_of, quiet_trainer

from vidiff.errors import UsageError
from vidiff.models.r3gan import R3GAN
from vidiff.nn.blocks import mixes_clips
from vidiff.nn.r3 import ResidualBlock


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@pytest.mark.parametrize("num_classes", [None, 2])
def test_terms(num_classes):
    model = R3GAN(num_classes=num_classes, r1_gamma=4.0, **TINY).double()
    batch = Clips(num_classes=num_classes).batch(0)
    batch["clip"] = batch["clip"].double()
    terms = losses_of(model, "d", batch)
    label = batch["label"] if num_classes else None
    d = lambda x: model.discriminator(x, label)  # noqa: E731
    fake = fakes_of(model, "d", batch)
    real_logits, fake_logits = d(batch["clip"]).tolist(), d(fake).tolist()
    expected = sum(softplus(-(r - f)) for r, f in zip(real_logits, fake_logits)) / 4
    assert float(terms["adv"]) == pytest.approx(expected, abs=1e-6)
    for name, clips in (("r1", batch["clip"]), ("r2", fake)):
        jacobian = torch.autograd.functional.jacobian(d, clips)  # (B, B, C, T, H, W)
        own = torch.stack([jacobian[i, i] for i in range(4)])
        assert float(terms[name]) == pytest.approx(4.0 / 2 * float(own.square().sum()) / 4, rel=1e-6, abs=1e-6)
        assert float(terms[name]) > 0
    fake_logits = d(fakes_of(model, "g", batch)).tolist()
    expected = sum(softplus(-(f - r)) for r, f in zip(real_logits, fake_logits)) / 4
    assert float(losses_of(model, "g", batch)["adv"]) == pytest.approx(expected, abs=1e-6)


def test_gamma_falls_along_half_a_cosine():
    model = R3GAN(r1_gamma=9.0, r1_gamma_final=1.0, burn_in=10, **TINY)
    values = []
    for model.batches_seen in (0, 5, 10, 99):
        values.append(model.burned_in(9.0, 1.0))
    assert values == pytest.approx([9.0, 5.0, 1.0, 1.0])
    assert R3GAN(burn_in=0, **TINY).burned_in(9.0, 1.0) == 1.0
    with pytest.raises(UsageError, match="r1_gamma"):
        R3GAN(r1_gamma=-1.0, **TINY)


def test_new_blocks_are_the_identity_and_nothing_is_normalised():
    x = torch.randn(2, 32, 2, 4, 4)
    block = ResidualBlock(32, depth=4)
    assert torch.equal(block(x), x)
    # The first convolution carries L^(-1 / (2m - 2)) = 4^(-1/4) of He's standard deviation.
    expected = 4**-0.25 * math.sqrt(2 / (1 + 0.2**2) / 32)
    assert float(block.layers[0].weight.std()) == pytest.approx(expected, rel=0.1)
    model = R3GAN(**TINY)
    assert not mixes_clips(model)


def test_twenty_steps_stay_finite_and_move():
    model = R3GAN(**TINY)
    before = model.sample(2, ema=False).float()
    quiet_trainer(max_steps=20).fit(model, Clips())
    after = model.sample(2, ema=False).float()
    assert (after - before).abs().mean() > 0.5
    assert ((after < 2) | (after > 253)).float().mean() < 0.5
