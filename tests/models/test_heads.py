"""Auxiliary terms of a discriminator with heads, in games with and without penalties, against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, fakes_of, quiet_trainer

from vidiff.models.dcgan import DCGAN
from vidiff.models.logits import head_losses
from vidiff.models.r3gan import R3GAN
from vidiff.models.turn import Turn
from vidiff.models.wgan_gp import WGANGP
from vidiff.nn.heads import HeadedDiscriminator


def with_heads(family: type, num_classes: int | None = None, **options):
    """A model of a family whose discriminator has heads."""
    sizes = TINY if family is not R3GAN else {**TINY, "width": 8}
    network = lambda spec: HeadedDiscriminator(spec, norm="layer", **options)  # noqa: E731
    return family(discriminator=network, num_classes=num_classes, **sizes)


def heads_of(model, player: str, batch: dict[str, torch.Tensor]) -> tuple[dict, Turn]:
    """The terms of the heads after a player's own losses, and the turn."""
    turn = Turn(model, player, batch)
    _ = model.discriminator_losses(turn) if player == "d" else model.generator_losses(turn)
    return head_losses(turn), turn


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    rows = [math.log(sum(map(math.exp, row))) - row[k] for row, k in zip(logits.tolist(), labels.tolist())]
    return sum(rows) / len(rows)


@pytest.mark.parametrize("family", [DCGAN, WGANGP, R3GAN])
def test_class_terms(family):
    """Real and generated clips for D, generated ones alone for G; what a penalty mixes never counts."""
    model = with_heads(family, num_classes=3)
    batch = Clips(num_classes=3).batch(0)
    real = model.discriminator(batch["clip"])[1]["class"]
    terms, turn = heads_of(model, "d", batch)
    fake = model.discriminator(fakes_of(model, "d", batch))[1]["class"]
    assert terms["class_real"].item() == pytest.approx(cross_entropy(real, batch["label"]), abs=1e-5)
    assert terms["class_fake"].item() == pytest.approx(cross_entropy(fake, batch["label"]), abs=1e-5)
    right = [row.argmax() == k for row, k in zip(real, batch["label"])]
    assert float(turn.notes["class_accuracy_real"]) == pytest.approx(sum(right) / 4)
    terms, _ = heads_of(model, "g", batch)
    fake = model.discriminator(fakes_of(model, "g", batch))[1]["class"]
    assert set(terms) == {"class_fake"}
    assert terms["class_fake"].item() == pytest.approx(cross_entropy(fake, batch["label"]), abs=1e-5)


def test_the_family_says_which_clips_are_real():
    """Real clips that are changed before they are judged are real all the same."""

    class Flipping(DCGAN):
        def discriminator_losses(self, turn):
            real, fake = turn.judge(turn.real.flip(-1), "real"), turn.judge(turn.fake(), "fake")
            return {"real": -real.mean(), "fake": fake.mean()}

    model, batch = with_heads(Flipping, num_classes=3), Clips(num_classes=3).batch(0)
    real = model.discriminator(batch["clip"].flip(-1))[1]["class"]
    terms, _ = heads_of(model, "d", batch)
    assert terms["class_real"].item() == pytest.approx(cross_entropy(real, batch["label"]), abs=1e-5)
    assert set(terms) == {"class_real", "class_fake"}


def test_joined_clips_have_shares_of_classes():
    """Where the data joins clips, D's target for the real ones is the shares, that of the generated ones the label."""
    model, batch = with_heads(DCGAN, num_classes=3), Clips(num_classes=3).batch(0)
    batch["label_share"] = torch.tensor([[0.5, 0.5, 0.0]] * 4)
    logits = model.discriminator(batch["clip"])[1]["class"]
    expected = 0.5 * sum(cross_entropy(logits, torch.full((4,), k)) for k in (0, 1))
    assert heads_of(model, "d", batch)[0]["class_real"].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", [DCGAN, R3GAN])
def test_speed_term(family):
    """Huber's loss of D's estimate for the real clips; G has no such term."""
    model = with_heads(family, classes=False, numbers=["speed"])
    batch = Clips().batch(0) | {"speed": torch.tensor([0.0, 0.2, 3.0, 5.0])}
    shown = model.discriminator(batch["clip"])[1]["speed"].tolist()
    distance = [abs(a - b) for a, b in zip(shown, batch["speed"].tolist())]
    expected = sum(0.5 * d * d if d < 1 else d - 0.5 for d in distance) / 4
    terms, _ = heads_of(model, "d", batch)
    assert terms["speed"].item() == pytest.approx(expected, abs=1e-5)
    terms["speed"].backward()
    assert model.discriminator.heads["speed"].weight.grad.abs().sum() > 0
    assert heads_of(model, "g", batch)[0] == {}


def test_a_number_that_the_data_does_not_give_is_said():
    model = with_heads(DCGAN, classes=False, numbers=["speed"])
    with pytest.warns(UserWarning, match="speed"):
        assert heads_of(model, "d", Clips().batch(0))[0] == {}


def test_the_terms_of_heads_are_part_of_training():
    model = with_heads(DCGAN, num_classes=3)
    quiet_trainer(max_steps=1).fit(model, Clips(num_classes=3))
    assert {"train/d_class_real", "train/d_class_fake", "train/g_class_fake"} <= set(model.terms)
    shown = [model.terms[f"train/d_{name}"] for name in ("real", "fake", "class_real", "class_fake")]
    assert float(model.terms["train/d_total"]) == pytest.approx(float(sum(shown)), rel=1e-6)
    assert 0 <= model.terms["train/g_class_accuracy_fake"] <= 1
