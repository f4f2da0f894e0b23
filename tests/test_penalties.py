"""Penalties against derivatives known by hand."""

from __future__ import annotations

import pytest
import torch

from vidiff import penalties


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
