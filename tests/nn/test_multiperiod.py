"""Networks of several periods: what lies between two frames starts near their mean."""

from __future__ import annotations

import torch

from vidiff.clip import ClipSpec
from vidiff.nn.multiperiod import BetweenGenerator, interleave


def test_between_starts_near_interpolation():
    spec = ClipSpec(3, 8, 16, width=4, latent_dim=4)
    ramp = torch.linspace(-0.9, 0.9, 5).view(1, 1, 5, 1, 1).expand(2, 3, 5, 16, 16)
    between = BetweenGenerator(spec).eval()(ramp, torch.zeros(2, 4, 5), None).detach()
    middle = 0.5 * (ramp[:, :, :-1] + ramp[:, :, 1:])
    assert (between[:, :, :-1] - middle).abs().mean() < 0.45 and between.abs().max() <= 1
    mixed = interleave(ramp, between)
    assert mixed.shape[2] == 10 and torch.equal(mixed[:, :, 3], between[:, :, 1])
