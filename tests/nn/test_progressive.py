"""Growing networks: fades are continuous, sizes in space and time, the paper's layers."""

from __future__ import annotations

import math

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.progressive import Equalized, GrowingDiscriminator, GrowingGenerator, minibatch_stddev, pixel_norm

SPEC = ClipSpec(3, 8, 32, width=8, latent_dim=6, num_classes=2)


def test_fade_is_continuous():
    """At alpha 0 and 1 both networks give what their neighbours give."""
    g, d = GrowingGenerator(SPEC), GrowingDiscriminator(SPEC)
    z, label = torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    real = torch.randn(4, 3, 8, 32, 32)
    for stage in range(1, g.last + 1):
        before, start = g.render(z, label, stage - 1), g.render(z, label, stage, 0.0)
        torch.testing.assert_close(start, g.enlarge(before, stage), rtol=0, atol=1e-6)
        torch.testing.assert_close(g.render(z, label, stage, 1.0 - 1e-9), g.render(z, label, stage), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            d.logits_at(real, label, stage, 0.0), d.logits_at(real, label, stage - 1), rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            d.logits_at(real, label, stage, 1.0 - 1e-9), d.logits_at(real, label, stage), rtol=0, atol=1e-6
        )
        half = 0.5 * (start + g.render(z, label, stage))
        torch.testing.assert_close(g.render(z, label, stage, 0.5), half, rtol=0, atol=1e-6)


def test_growth_in_space_and_time():
    g = GrowingGenerator(SPEC)
    sizes = [tuple(g.render(torch.randn(1, 6), torch.tensor([0]), s).shape[2:]) for s in range(4)]
    assert sizes == [(2, 4, 4), (2, 8, 8), (4, 16, 16), (8, 32, 32)]
    for level in (0.0, 0.4, 2.0, 3.0):
        g.level.fill_(level)
        assert g(torch.randn(2, 6), torch.tensor([0, 1])).shape == (2, 3, 8, 32, 32)
    x = torch.randn(1, 3, 8, 32, 32)
    assert torch.allclose(g.reduce(x, 3)[0, 0, 1, 0, 0], x[0, 0, 2, :2, :2].mean(), atol=1e-6)
    assert torch.allclose(g.reduce(g.enlarge(x, 3), 3), x)
    with pytest.raises(ValueError, match="divisible"):
        GrowingGenerator(ClipSpec(3, 7, 32))


def test_parts_of_the_paper():
    x = torch.randn(8, 5, 2, 4, 4)
    assert torch.allclose(pixel_norm(x).square().mean(1), torch.ones(8, 2, 4, 4), atol=1e-4)
    shown = minibatch_stddev(x)[:, 5]
    for group in (slice(0, 4), slice(4, 8)):
        expected = x[group].numpy().std(axis=0).mean()
        assert torch.allclose(shown[group], torch.tensor(expected), atol=1e-5)
    assert torch.allclose(minibatch_stddev(x)[4:], minibatch_stddev(x[4:]), atol=1e-6)  # as on two processes
    layer = Equalized(torch.nn.Linear(64, 4000), 64)
    assert float(layer(torch.randn(64, 64)).std()) == pytest.approx(math.sqrt(2), rel=0.1)
