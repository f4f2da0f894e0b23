"""What goes by D's logits: the dashboard's means, adaptive augmentation, and that a family has to show them."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.augment import AdaptiveAugment
from vidiff.errors import UsageError
from vidiff.models.dcgan import DCGAN
from vidiff.models.logits import adapt_augmentation, describe_logits
from vidiff.models.strategies import Balance


def test_separation_by_hand():
    real, fake = torch.tensor([2.0, 0.0, 4.0, 2.0]), torch.tensor([[-1.0, 0.0], [1.0, 4.0]])
    shown = describe_logits(real, fake, gathered=False)  # means 2 and 1: the middle is 1.5
    expected = {"train/d_real_logit": 2.0, "train/d_fake_logit": 1.0, "train/d_separation": 0.75}
    assert {k: float(v) for k, v in shown.items()} == expected


@pytest.mark.parametrize(
    "above, real, fake, r_t",
    [
        (0.0, [0.5, 1.0, -0.1, 2.0], [-1.0] * 4, 0.5),  # the paper's: sign of the logit
        (0.5, [0.6, 0.9, 0.4, 0.2], [0.0] * 4, 0.0),  # targets 0 and 1: real above 1/2
        (None, [10.0, 12.0, 14.0, 5.0], [4.0] * 4, 0.5),  # means 10.25 and 4: above 7.125
    ],
)
def test_what_ada_measures(above, real, fake, r_t):
    augment = AdaptiveAugment(interval=1, clips=40, start=0.5)
    adapt_augmentation(augment, torch.tensor(real), torch.tensor(fake), above, clips=4)
    assert float(augment.r_t) == pytest.approx(r_t)
    assert float(augment.p) == pytest.approx(0.4)  # below the target of 0.6: down by 4 clips of 40


class Silent(DCGAN):
    """A family that goes past `Turn.judge`."""

    def discriminator_losses(self, turn):
        return {"real": -self.discriminator(turn.real).mean()}


@pytest.mark.parametrize(
    "settings, what",
    [({"balance": Balance()}, "model.balance"), ({"discriminator_augment": AdaptiveAugment()}, "AdaptiveAugment")],
)
def test_what_goes_by_the_logits_says_that_there_are_none(settings, what):
    with pytest.raises(UsageError, match=f"{what}.*Silent.*turn.judge"):
        quiet_trainer(max_steps=1).fit(Silent(**settings, **TINY), Clips())
    quiet_trainer(max_steps=1).fit(Silent(**TINY), Clips())  # nobody asks
