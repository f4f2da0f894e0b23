"""Corruptions: keyed by clip, nested in their dose, and of the kind that they are named after."""

from __future__ import annotations

import pytest
import torch

from vidiff.metrics.corruptions import CORRUPTIONS

BY_NAME = {c.name: c for c in CORRUPTIONS}


def numbered(clips: int = 6, frames: int = 16) -> torch.Tensor:
    """Smooth clips whose frames can be told apart: frame t is brighter by t."""
    picture = torch.randint(40, 180, (clips, 3, 1, 32, 32), generator=torch.Generator().manual_seed(1))
    return (picture + torch.arange(frames).reshape(1, 1, -1, 1, 1)).to(torch.uint8)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_clip_is_corrupted_by_its_own_key_and_more_by_a_larger_dose(name):
    clips, corruption = numbered(), BY_NAME[name]
    assert len(corruption.doses) == 5 and list(corruption.doses) == sorted(set(corruption.doses))
    made = [corruption(clips, dose, seed=3) for dose in corruption.doses]
    assert all(m.shape == clips.shape and m.dtype == torch.uint8 for m in made)
    assert torch.equal(corruption(clips[:2], corruption.doses[2], seed=3), made[2][:2])
    away = [float((m.double() - clips.double()).abs().mean()) for m in made]
    assert all(a <= b * 1.02 for a, b in zip(away, away[1:])) and away[-1] > 0, away


def test_what_happens_to_time():
    clips = numbered()
    order = {name: BY_NAME[name](clips, BY_NAME[name].doses[-1])[:, 0, :, 0, 0].int() for name in BY_NAME}
    steps = order["frozen"].diff(dim=1)
    assert not steps.any()
    assert all(
        sorted(row) == sorted(own) for row, own in zip(order["shuffled"].tolist(), clips[:, 0, :, 0, 0].tolist())
    )
    assert (order["shuffled"] != clips[:, 0, :, 0, 0].int()).all()
    assert torch.equal(BY_NAME["reversed"](clips, 1.0), clips.flip(2))
    half = BY_NAME["reversed"](numbered(200), 0.4)
    assert 0.3 < float((half[:, 0, 0, 0, 0] != numbered(200)[:, 0, 0, 0, 0]).float().mean()) < 0.5
    assert (order["dropped"].diff(dim=1) == 0).float().mean() > 0.6 and (order["dropped"].diff(dim=1) >= 0).all()


def test_doses_in_pixels_grow_with_the_picture():
    small = numbered()
    large = torch.nn.functional.interpolate(small.float(), (16, 64, 64), mode="nearest").to(torch.uint8)
    blurred = [float(BY_NAME["blur"](x, 2.5).float().std() / x.float().std()) for x in (small, large)]
    assert blurred[0] == pytest.approx(blurred[1], rel=0.15)
