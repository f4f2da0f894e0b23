"""What a model refuses: penalties of discriminators that mix clips."""

from __future__ import annotations

from functools import partial

import pytest
from helpers import TINY, Clips, quiet_trainer
from torch import nn

from vidiff.errors import UsageError
from vidiff.models import families
from vidiff.models.dcgan import DCGAN
from vidiff.models.pggan import PGGAN
from vidiff.nn.blocks import mixes_clips
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.progressive import GrowingDiscriminator
from vidiff.nn.r3 import R3Discriminator
from vidiff.nn.resnet import StarDiscriminator
from vidiff.penalties import logits_and_penalty


def mixing(network, how):
    """A network factory whose judge mixes the clips of a batch."""

    def build(spec):
        judge = network(spec)
        if how == "BatchNorm":
            judge.add_module("extra", nn.BatchNorm3d(1))
        else:
            judge.minibatch_std = True
        return judge

    return build


@pytest.mark.parametrize("how", ["BatchNorm", "minibatch standard deviation"])
@pytest.mark.parametrize(
    "family, network",
    [
        ("WGANGP", lambda spec: ConvDiscriminator(spec, norm="layer")),
        ("LossSensitiveGAN", lambda spec: ConvDiscriminator(spec, norm="layer")),
        ("R3GAN", R3Discriminator),
        ("StarGAN", StarDiscriminator),
    ],
)
def test_a_penalty_through_what_mixes_clips_is_refused_at_construction(family, network, how):
    sizes = TINY | ({"num_classes": 2} if family == "StarGAN" else {}) | {"width": 8}
    families()[family](discriminator=network, **sizes)
    with pytest.raises(UsageError, match=f"{family}.*{how}"):
        families()[family](discriminator=mixing(network, how), **sizes)


def test_progressive_growing_keeps_its_papers_statistic_and_nothing_else():
    assert mixes_clips(PGGAN(**TINY).discriminator) == ["minibatch standard deviation"]
    with pytest.raises(UsageError, match="PGGAN.*BatchNorm"):
        PGGAN(discriminator=mixing(GrowingDiscriminator, "BatchNorm"), **TINY)


def test_a_family_that_does_not_ask_at_construction_is_refused_at_its_first_penalty():
    class Penalized(DCGAN):
        def discriminator_losses(self, turn):
            return {"r1": turn.penalty(logits_and_penalty, partial(turn.judge, side="real"), turn.real)[1]}

    with pytest.raises(UsageError, match="Penalized.*BatchNorm"):
        quiet_trainer(max_steps=1).fit(Penalized(**TINY), Clips())
    minibatch_std = lambda spec: ConvDiscriminator(spec, norm="layer", minibatch_std=True)  # noqa: E731
    with pytest.raises(UsageError, match="minibatch standard deviation"):
        quiet_trainer(max_steps=1).fit(Penalized(discriminator=minibatch_std, **TINY), Clips())
