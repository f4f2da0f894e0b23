"""The loss-sensitive game against plain formulas."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, double, fakes_of, losses_of, numbers

from vidiff.errors import UsageError
from vidiff.losses import loss_sensitive_d
from vidiff.models.loss_sensitive import LossSensitiveGAN, spread
from vidiff.nn.discriminators import ConvDiscriminator


def test_loss_sensitive_terms():
    model, batch = double(LossSensitiveGAN(margin=3.0, r1_gamma=2.0, **TINY))
    terms = numbers(losses_of(model, "d", batch))
    # BatchNorm in training mode gives the same clips for the same latents.
    fake, real = fakes_of(model, "d", batch), batch["clip"]
    loss = lambda x: -model.discriminator(x)  # noqa: E731
    values = zip(real, fake, loss(real).tolist(), loss(fake).tolist())
    s = float(sum((x - sum(real) / 4).abs().mean() for x in real)) / 4
    expected = [max(0.0, 3.0 * float((x - y).abs().mean()) / s + a - b) for x, y, a, b in values]
    assert terms["margin"] == pytest.approx(sum(expected) / 4, abs=1e-6) and terms["margin"] > 0
    x = real.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    assert terms["r1"] == pytest.approx(2.0 / 2 * float(gradient.square().sum()) / 4, abs=1e-6)
    expected = float(loss(fakes_of(model, "g", batch)).mean().detach())
    assert numbers(losses_of(model, "g", batch))["adv"] == pytest.approx(expected, abs=1e-6)


def test_margin_does_not_depend_on_the_contrast_of_the_data():
    clips = torch.rand(4, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(spread(0.1 * clips - 1)) == pytest.approx(0.1 * float(spread(clips)), rel=1e-5)
    assert float(spread(clips)) == pytest.approx(0.2, abs=0.05)  # of uniform numbers in 0..1: 1/4, of 4 of them less
    assert float(spread(torch.ones(2, 3, 4, 8, 8))) == pytest.approx(0.01)


def test_what_is_beyond_the_margin_costs_nothing():
    real, fake = torch.tensor([0.0, 0.0]), torch.tensor([5.0, 1.0])
    assert float(loss_sensitive_d(real, fake, torch.tensor([2.0, 2.0]))) == pytest.approx(0.5)


def test_batch_norm_is_refused_where_there_is_a_penalty():
    batch_norm = lambda spec: ConvDiscriminator(spec, norm="batch")  # noqa: E731
    with pytest.raises(UsageError, match="BatchNorm"):
        LossSensitiveGAN(discriminator=batch_norm, **TINY)
    model, batch = double(LossSensitiveGAN(discriminator=batch_norm, r1_gamma=0.0, **TINY))
    assert set(losses_of(model, "d", batch)) == {"margin"}
