"""Parts of an update, without a training: what is frozen, when weights have exploded, how many steps there are."""

from __future__ import annotations

import math
import platform
from types import SimpleNamespace

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer
from torch import nn

from vidiff.models.allocator import keep_memory
from vidiff.models.dcgan import DCGAN
from vidiff.models.updates import diverged, make_optimizers, norms, planned_steps
from vidiff.optim import Adam, fuse


def test_the_other_player_is_frozen_for_a_while():
    """What its user froze stays frozen."""
    seen = []

    class Watched(DCGAN):
        def generator_losses(self, turn):
            seen.append([{p.requires_grad for p in self.players[name].parameters()} for name in "gd"])
            return super().generator_losses(turn)

    model = Watched(**TINY)
    frozen = next(model.discriminator.parameters()).requires_grad_(False)
    quiet_trainer(max_steps=2).fit(model, Clips())
    assert seen == [[{True}, {False}]] * 2
    assert [p for p in model.discriminator.parameters() if not p.requires_grad] == [frozen]


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


def test_adam_is_fused_on_a_cpu_whoever_made_it():
    """Unless its maker chose; weights move alike."""
    p = [nn.Parameter(torch.ones(3))]
    for made in (torch.optim.Adam, torch.optim.AdamW, Adam):
        optimizer = make_optimizers({"g": nn.ParameterList(p)}, {"g": made})[0]
        assert optimizer.param_groups[0]["fused"] is True
    for choice in ({"foreach": True}, {"fused": False}):
        optimizer = torch.optim.Adam(p, **choice)
        fuse(optimizer)
        assert not optimizer.param_groups[0]["fused"]
    fuse(sgd := torch.optim.SGD(p))
    assert sgd.param_groups[0]["fused"] is None

    def moved(fused):
        weight = nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.5, 0.9), weight_decay=0.1)
        if fused:
            fuse(optimizer)
        for _ in range(3):
            weight.grad = weight.detach() ** 2
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(moved(True), moved(False), rtol=1e-6, atol=1e-7)


def test_memory_is_kept_and_given_back():
    """Where the C library can; a training on a CPU asks for it."""
    assert keep_memory() == keep_memory(False) == (platform.libc_ver()[0] == "glibc")
