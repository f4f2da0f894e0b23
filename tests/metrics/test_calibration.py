"""Temperature, calibration error and the softmax regression against what they have to be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vidiff.metrics.calibration import SoftmaxRegression, calibration_error, reliability, temperature


def test_the_temperature_undoes_a_factor():
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 3)
    labels = torch.distributions.Categorical(logits=logits).sample()
    for factor in (0.4, 1.0, 5.0):
        assert temperature(factor * logits, labels) == pytest.approx(factor, rel=0.07)
    calibrated = calibration_error(logits.softmax(1), labels)
    assert calibrated < 0.015 < 0.05 < calibration_error((5 * logits).softmax(1), labels)


def test_the_error_of_known_cases():
    certain = F.one_hot(torch.tensor([0, 0, 1, 1]), 2).double()
    assert calibration_error(certain, torch.tensor([0, 0, 1, 1])) == 0
    assert calibration_error(certain, torch.tensor([1, 0, 1, 0])) == 0.5
    rows = reliability(torch.tensor([[0.95, 0.05], [0.7, 0.3], [0.75, 0.25]]), torch.tensor([0, 1, 0]))
    assert [n for n, *_ in rows] == [2, 1] and rows[0][1:] == pytest.approx((0.725, 0.5))


def test_the_regression_is_at_its_optimum_and_finds_a_line():
    torch.manual_seed(0)
    x = torch.randn(300, 5) * torch.tensor([1.0, 100, 1, 1, 0.01]) + 3
    along = (x[:, 0] - 3) + (x[:, 1] - 3) / 100
    labels = (along > -0.7).long() + (along > 0.7).long()
    model = SoftmaxRegression(x, labels, 3)
    assert (model.logits(x).argmax(1) == labels).double().mean() > 0.93
    weight, bias = (v.clone().requires_grad_() for v in (model.weight, model.bias))
    z = (x.double() - model.mean) / model.spread
    balance = len(x) / (3 * torch.bincount(labels).double())
    each = F.cross_entropy(z @ weight + bias, labels, reduction="none") * balance[labels]
    (each.mean() + 0.5 * 1e-3 * weight.square().sum()).backward()
    assert weight.grad.abs().max() < 1e-4 and bias.grad.abs().max() < 1e-4
