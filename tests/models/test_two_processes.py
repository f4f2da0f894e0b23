"""Every family trained by two processes with B clips each and by one with 2 B, in float64: all of its state is equal.

`pytest -m slow tests/models/test_two_processes.py -s -k largest` prints the table of docs/cluster.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from exact import CLIPS, LOOSER, SIZES, STEPS, TOLERANCE, Pairs, apart, in_processes, model_of
from helpers import GAMES, quiet_trainer

from vidiff.models import families


def member(family: str, out: Path, rank: int, world: int, settings: dict) -> None:
    """One process of a training; saves its state before and after."""
    model = model_of(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = quiet_trainer(max_steps=STEPS, precision="64-true", sync_batchnorm=True, **settings)
    trainer.fit(model, Pairs(CLIPS // world, num_classes=2, num_frames=SIZES["num_frames"]))
    torch.save((before, model.state_dict()), out / f"{world}.{rank}")


def train(family: str, out: Path, world: int) -> list[tuple[dict, dict]]:
    """(state before, state after) of each process."""
    in_processes(world, member, family, out)
    return [torch.load(out / f"{world}.{rank}", weights_only=True) for rank in range(world)]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("family", sorted(families()))
def test_the_largest_difference_from_one_process(family, tmp_path):
    ((start, one),) = train(family, tmp_path, 1)
    (_, first), (_, second) = train(family, tmp_path, 2)
    between, moved = apart(one, first), apart(start, one)
    print(f"\n| {family} | " + " | ".join(f"{between[p]:.0e}" for p in between) + f" | {moved['weights']:.0e} |")
    assert max(apart(first, second).values()) == 0.0
    assert max(between.values()) < LOOSER.get(family, TOLERANCE)
    assert moved["weights"] > 1e-4 and moved["average"] > 1e-6
    assert moved["buffers"] > 0 or family not in GAMES  # ADA's


def test_states_that_differ_are_told_apart():
    """The comparison can fail: another value, another shape, a missing tensor."""
    a = {"generator.w": torch.zeros(2), "generator_ema.w": torch.zeros(1), "history.n": torch.tensor(3)}
    assert apart(a, a) == {"weights": 0.0, "average": 0.0, "buffers": 0.0}
    assert apart(a, a | {"generator.w": torch.tensor([0.0, 0.5])})["weights"] == 0.5
    assert apart(a, a | {"generator_ema.w": torch.zeros(2)})["average"] == float("inf")
    assert apart(a, {k: v for k, v in a.items() if k != "history.n"})["buffers"] == float("inf")
