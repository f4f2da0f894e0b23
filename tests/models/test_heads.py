"""Auxiliary terms of a discriminator with heads, in games with and without penalties, against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips

from vidiff.models._heads import Heads
from vidiff.models.dcgan import DCGAN
from vidiff.models.r3gan import R3GAN
from vidiff.models.wgan_gp import WGANGP
from vidiff.nn.heads import HeadedDiscriminator


def with_heads(family: type, num_classes: int | None = None, **options):
    """A model of a family that asks its discriminator's heads, whatever its base class does by itself."""

    bases = (family,) if issubclass(family, Heads) else (Heads, family)

    class Adopted(*bases):
        def discriminate(self, clip, batch, side):
            return self.logits_of(self.discriminator(self.augmented(clip), self.labels(batch)), side)

        def discriminator_losses(self, batch):
            self._predicted = {}
            return super().discriminator_losses(batch) | self.head_losses("d", batch)

        def generator_losses(self, batch):
            self._predicted = {}
            return super().generator_losses(batch) | self.head_losses("g", batch)

    sizes = TINY if family is not R3GAN else {**TINY, "width": 8}
    network = lambda spec: HeadedDiscriminator(spec, norm="layer", **options)  # noqa: E731
    model = Adopted(discriminator=network, num_classes=num_classes, **sizes)
    model._move = 0
    return model


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    rows = [math.log(sum(map(math.exp, row))) - row[k] for row, k in zip(logits.tolist(), labels.tolist())]
    return sum(rows) / len(rows)


@pytest.mark.parametrize("family", [DCGAN, WGANGP, R3GAN])
def test_class_terms(family):
    """Real and generated clips for D, generated ones alone for G; what a penalty mixes never counts."""
    model = with_heads(family, num_classes=3)
    batch = Clips(num_classes=3).batch(0)
    real = model.discriminator(batch["clip"])[1]["class"]
    terms = model.discriminator_losses(batch)
    fake = model.discriminator(model.fake_clips(batch, "d"))[1]["class"]
    assert terms["class_real"].item() == pytest.approx(cross_entropy(real, batch["label"]), abs=1e-5)
    assert terms["class_fake"].item() == pytest.approx(cross_entropy(fake, batch["label"]), abs=1e-5)
    assert 0 <= model.terms["train/d_class_accuracy_real"] <= 1
    terms = model.generator_losses(batch)
    fake = model.discriminator(model.fake_clips(batch, "g"))[1]["class"]
    assert "class_real" not in terms
    assert terms["class_fake"].item() == pytest.approx(cross_entropy(fake, batch["label"]), abs=1e-5)
    assert model._predicted is None  # nothing is kept outside an update


def test_the_family_says_which_clips_are_real():
    """Real clips that are changed before they are judged are real all the same."""

    class Flipping(DCGAN):
        def discriminator_losses(self, batch):
            return super().discriminator_losses(batch | {"clip": batch["clip"].flip(-1)})

    model, batch = with_heads(Flipping, num_classes=3), Clips(num_classes=3).batch(0)
    real = model.discriminator(batch["clip"].flip(-1))[1]["class"]
    terms = model.discriminator_losses(batch)
    assert terms["class_real"].item() == pytest.approx(cross_entropy(real, batch["label"]), abs=1e-5)
    assert {"class_real", "class_fake"} <= set(terms)


def test_joined_clips_have_shares_of_classes():
    """Where the data joins clips, D's target for the real ones is the shares, that of the generated ones the label."""
    model, batch = with_heads(DCGAN, num_classes=3), Clips(num_classes=3).batch(0)
    batch["label_share"] = torch.tensor([[0.5, 0.5, 0.0]] * 4)
    logits = model.discriminator(batch["clip"])[1]["class"]
    expected = 0.5 * sum(cross_entropy(logits, torch.full((4,), k)) for k in (0, 1))
    assert model.discriminator_losses(batch)["class_real"].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", [DCGAN, R3GAN])
def test_speed_term(family):
    """Huber's loss of D's estimate for the real clips; G has no such term."""
    model = with_heads(family, classes=False, numbers=["speed"])
    batch = Clips().batch(0) | {"speed": torch.tensor([0.0, 0.2, 3.0, 5.0])}
    said = model.discriminator(batch["clip"])[1]["speed"].tolist()
    distance = [abs(a - b) for a, b in zip(said, batch["speed"].tolist())]
    expected = sum(0.5 * d * d if d < 1 else d - 0.5 for d in distance) / 4
    terms = model.discriminator_losses(batch)
    assert terms["speed"].item() == pytest.approx(expected, abs=1e-5)
    terms["speed"].backward()
    assert model.discriminator.heads["speed"].weight.grad.abs().sum() > 0
    assert set(model.generator_losses(batch)) == {"adv"}


def test_a_number_that_the_data_does_not_give_is_said():
    model = with_heads(DCGAN, classes=False, numbers=["speed"])
    with pytest.warns(UserWarning, match="speed"):
        assert set(model.discriminator_losses(Clips().batch(0))) == {"real", "fake"}
