"""Parts of an update, without a training: what is frozen, when weights have exploded, how many steps there are."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vidiff.models.updates import alone, diverged, norms, planned_steps


def test_the_others_are_frozen_for_a_while():
    shared, g, d = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    players = [nn.ModuleList([g, shared]), nn.ModuleList([d, shared])]
    d.bias.requires_grad_(False)  # by its user
    with pytest.raises(KeyError), alone(players[0], players):
        assert all(p.requires_grad for p in players[0].parameters())
        assert not any(p.requires_grad for p in d.parameters())
        raise KeyError
    assert d.weight.requires_grad and not d.bias.requires_grad


def test_norms_by_hand():
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    p.grad = torch.tensor([0.0, 2.0])
    assert [float(x) for x in norms([p])] == [2.0, 5.0]
    p.data[0] = 1e12
    assert float(norms([p])[1]) == math.inf


@pytest.mark.parametrize(
    "max_steps, max_epochs, batches, steps",
    [(7, None, 10, 7), (-1, -1, 10, None), (-1, 3, 10, 30), (7, 3, 10, 7), (50, 3, 10, 30), (-1, 3, math.inf, None)],
)
def test_planned_steps(max_steps, max_epochs, batches, steps):
    """n_critic 2 and g_steps 2: a batch is a step."""
    trainer = SimpleNamespace(max_steps=max_steps, max_epochs=max_epochs, num_training_batches=batches)
    assert planned_steps(trainer, 2, 2) == steps


def test_what_stops_a_run_is_named():
    trainer = SimpleNamespace(precision="16-mixed", global_step=4)
    terms = {"adv": torch.tensor(1.0), "gp": torch.tensor(math.nan)}
    text = str(diverged(trainer, 9, "d", terms))
    assert "d_gp=nan is not finite at generator step 4, batch 9" in text and "32-true" in text and "adv" not in text
    assert "a term of g on another process" in str(diverged(trainer, 9, "g", {"adv": torch.tensor(1.0)}))
