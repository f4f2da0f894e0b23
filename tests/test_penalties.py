"""Penalties against derivatives known by hand."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff import keyed, penalties
from vidiff.augment import DiffAugment
from vidiff.errors import UsageError
from vidiff.models.r3gan import R3GAN
from vidiff.models.turn import Turn


class Linear:
    """D(x) = <w, x>: its gradient is w everywhere."""

    def __init__(self, shape):
        self.w = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def __call__(self, x):
        return (x * self.w).flatten(1).sum(1)


def test_gradient_penalty_of_a_linear_critic():
    d = Linear((2, 3, 4, 4))
    x, y = torch.randn(5, 2, 3, 4, 4, dtype=torch.float64), torch.randn(5, 2, 3, 4, 4, dtype=torch.float64)
    norm = float(d.w.norm())
    value = penalties.gradient_penalty(d, x, y, torch.rand(5))
    assert float(value) == pytest.approx((norm - 1) ** 2, rel=1e-9)
    (grad,) = torch.autograd.grad(value, d.w)
    torch.testing.assert_close(grad, 2 * (norm - 1) * d.w.detach() / norm, rtol=1e-8, atol=1e-12)


def test_gradient_penalty_is_taken_between_real_and_fake():
    """D(x) = 1/2 |x|^2 has gradient x, so the penalty tells where it was taken."""
    real, fake = torch.full((1, 1, 1, 1, 1), 3.0).double(), torch.full((1, 1, 1, 1, 1), -1.0).double()
    d = lambda x: 0.5 * x.square().flatten(1).sum(1)  # noqa: E731
    value = penalties.gradient_penalty(d, real, fake, torch.tensor([0.9], dtype=torch.float64))
    assert float(value) == pytest.approx((0.9 * 3 - 0.1 - 1) ** 2, rel=1e-9)


def test_penalties_of_a_quadratic():
    x = torch.randn(4, 1, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    d = lambda x: 0.5 * x.square().flatten(1).sum(1)  # noqa: E731
    expected = 0.5 * float(x.flatten(1).square().sum(1).mean())
    assert float(penalties.r1_penalty(d, x)) == pytest.approx(expected, rel=1e-12)
    assert float(penalties.r2_penalty(d, x)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 1, 2, 4)])
def test_penalties_of_a_repeated_logit_are_those_of_one(shape):
    """A clip's logit is the mean of its P: repeating it moves neither the target norm of 1 nor R1."""
    x, y, mix = torch.randn(3, 4).double(), torch.randn(3, 4).double(), torch.rand(3)
    single = lambda c: c.pow(3).sum(1)  # noqa: E731
    repeated = lambda c: single(c).view(3, *[1] * (len(shape) - 1)).expand(shape)  # noqa: E731
    for network in (single, repeated):
        point = (mix[:, None] * x + (1 - mix[:, None]) * y).requires_grad_(True)
        (gradient,) = torch.autograd.grad(single(point).sum(), point)
        expected = (gradient.norm(dim=1) - 1).square().mean().item()
        assert penalties.gradient_penalty(network, x, y, mix).item() == pytest.approx(expected, rel=1e-6)
        expected = (0.5 * (3 * x.square()).square().sum(1)).mean().item()
        assert penalties.logits_and_penalty(network, x)[1].item() == pytest.approx(expected, rel=1e-9)


def test_penalty_is_float32_under_autocast():
    layer = torch.nn.Linear(8, 1)
    x = torch.randn(2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = penalties.r1_penalty(lambda c: layer(c), x)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(0.5 * float(layer.weight.detach().square().sum()), rel=1e-6)


def test_a_critic_that_ignores_its_input_costs_no_nan():
    d = lambda x: (0 * x).flatten(1).sum(1)  # noqa: E731
    assert float(penalties.gradient_penalty(d, torch.ones(2, 1), torch.ones(2, 1), torch.ones(2))) == pytest.approx(
        1, abs=1e-5
    )


def test_weight_clipping():
    layer = torch.nn.Linear(4, 4)
    penalties.clip_weights_(layer, 0.02)
    assert float(layer.weight.detach().abs().max()) <= 0.02


def test_differences_estimate_the_penalty_of_a_linear_critic():
    """There the estimate is right at every sigma, and spread like a squared normal."""
    d = Linear((2, 3, 4, 4))
    with torch.no_grad():
        x = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64).expand(4000, -1, -1, -1, -1)
        noise = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        exact = 0.5 * float(d.w.square().sum())
        for sigma in (1e-3, 0.1, 3.0):
            found = penalties.difference_penalty(d, x, d(x), noise, sigma)
            assert float(found.mean()) == pytest.approx(exact, rel=0.08)  # 3.5 standard errors
            assert float(found.std()) == pytest.approx(2**0.5 * exact, rel=0.15)


def test_differences_on_r3gans_discriminator_have_no_bias():
    """Against the exact penalty, at the sigma that R3GAN has and at three times as much."""
    model = R3GAN(**TINY).double()
    clips = torch.randn(8, 3, 4, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    network = lambda x: model.discriminate(x, None)  # noqa: E731
    exact = float(penalties.logits_and_penalty(network, clips)[1])
    with torch.no_grad():
        logits, draw = network(clips), torch.Generator().manual_seed(3)
        for sigma in (model.penalty_sigma, 0.1):
            found = torch.stack(
                [
                    penalties.difference_penalty(
                        network, clips, logits, torch.randn(clips.shape, dtype=torch.float64, generator=draw), sigma
                    ).mean()
                    for _ in range(150)
                ]
            )
            assert float(found.mean()) == pytest.approx(exact, rel=0.15)
            assert float(found.std()) < 1.2 * exact


def test_an_approximate_penalty_is_of_one_sample_in_four_wherever_it_is_computed():
    model, batch = R3GAN(penalty="approximate", **TINY).double(), Clips(8).batch(0)
    batch["clip"] = batch["clip"].double()
    whole = Turn(model, "d", batch).approximate_penalty(batch["clip"], "real", 0.03, 4)
    parts = []
    for rows in (slice(0, 3), slice(3, 8)):
        part = {k: v[rows] for k, v in batch.items()}
        parts.append(Turn(model, "d", part).approximate_penalty(part["clip"], "real", 0.03, 4))
    torch.testing.assert_close(whole[0], torch.cat([p[0] for p in parts]))
    torch.testing.assert_close(whole[1], (3 * parts[0][1] + 5 * parts[1][1]) / 8)
    slots = [s for s in range(8) if s % 4 == 0]
    noise = keyed.normal(slots, (3, 4, 16, 16), model.seed, "penalty", "real").double()
    near = model.discriminate(batch["clip"][slots] + 0.03 * noise, None) - model.discriminate(
        batch["clip"][slots], None
    )
    torch.testing.assert_close(whole[1], (0.5 * (near / 0.03).square()).sum() * 4 / 8)


def test_an_augmented_difference_is_of_two_clips_that_are_augmented_alike():
    model = R3GAN(penalty="approximate", discriminator_augment=DiffAugment(), **TINY).double()
    batch = Clips(8).batch(0)
    batch["clip"] = batch["clip"].double()
    penalty = Turn(model, "d", batch).approximate_penalty(batch["clip"], "real", 1e-4, 1)[1]
    turn = Turn(model, "d", batch)
    exact = penalties.logits_and_penalty(lambda x: model.discriminate(x, None), turn.augment(batch["clip"]))[1]
    assert 0.1 * float(exact) < float(penalty) < 6 * float(exact)  # differently augmented: millions of times as much


def test_r3gan_trains_with_approximate_penalties_and_refuses_others():
    model = R3GAN(penalty="approximate", **TINY)
    quiet_trainer(max_steps=3).fit(model, Clips())
    assert all(torch.isfinite(p).all() for p in model.parameters()) and float(model.terms["train/d_r1"]) > 0
    for wrong in (dict(penalty="none"), dict(penalty_sigma=0.0)):
        with pytest.raises(UsageError, match="penalty is exact or approximate"):
            R3GAN(**wrong, **TINY)
