"""LSGAN with a Laplacian: its terms, and that it smooths."""

from __future__ import annotations

import pytest
from helpers import TINY, Clips, double, fakes_of, losses_of, quiet_trainer

from vidiff.consistency import laplacian
from vidiff.models.lsgan import LSGAN


def test_laplacian_is_part_of_the_least_squares_generator_only_where_weighted():
    model, batch = double(LSGAN(laplacian_space=0.5, laplacian_time=2.0, **TINY))
    terms = losses_of(model, "g", batch)
    fake = fakes_of(model, "g", batch)
    assert float(terms["laplacian_time"].detach()) == pytest.approx(2 * float(laplacian(fake, "time")), abs=1e-6)
    assert float(terms["laplacian_space"].detach()) == pytest.approx(0.5 * float(laplacian(fake, "space")), abs=1e-6)
    plain, batch = double(LSGAN(**TINY))
    assert set(losses_of(plain, "g", batch)) == {"adv"}


def test_laplacian_smooths():
    roughness = {}
    for weight in (0.0, 100.0):
        model = LSGAN(laplacian_time=weight, **TINY)
        quiet_trainer(max_steps=30).fit(model, Clips())
        clips = model.sample(8, ema=False).float() / 127.5 - 1
        roughness[weight] = float(laplacian(clips, "time"))
    assert roughness[100.0] < 0.6 * roughness[0.0]
