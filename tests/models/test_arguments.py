"""The arguments that a model remembers: what its caller gave, by name, from all its constructors."""

from __future__ import annotations

import copy

import torch
from helpers import TINY

from vidiff.models.arguments import KeepsArguments
from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.models.pggan import PGGAN
from vidiff.nn.generators import ConvGenerator
from vidiff.optim import Schedule


class Base(KeepsArguments):
    def __init__(self, size: int = 1, *, network=None, schedule: Schedule = Schedule(), depth: int = 2):
        self.size = size


class Family(Base):
    def __init__(self, weight: float, depth: int = 3, network=len, **kwargs):
        weight = 10 * weight  # a local of its own
        depth, network = 7, sum
        more = "a local"  # noqa: F841
        super().__init__(network=network, depth=depth, **kwargs)


def test_what_was_given_and_not_what_became_of_it():
    made = Family(0.5, size=4, schedule=Schedule("linear", total_steps=9))
    linear = {"kind": "linear", "warmup_steps": 0, "decay_start": 0, "total_steps": 9}
    assert made.arguments == {"weight": 0.5, "depth": 3, "size": 4, "schedule": linear}
    assert Family(0.5, 5).arguments["depth"] == 5  # by position
    assert Family(0.5, network=max).arguments["network"] is max  # in the place of the code's default
    assert Base(6).arguments["size"] == 6 and Base().arguments["network"] is None


def test_a_family_knows_those_of_the_base_class():
    model = DCGAN(real_label=0.9, num_classes=3, **TINY)
    assert model.arguments | {"real_label": 0.9, "num_classes": 3, "seed": 0, **TINY} == model.arguments
    assert not {"generator", "optimizer_g", "self", "kwargs"} & set(model.arguments)
    factory = lambda spec: ConvGenerator(spec)  # noqa: E731
    assert DCGAN(generator=factory, **TINY).arguments["generator"] is factory
    assert PGGAN(**TINY).arguments["ema_decay"] == 0.99  # the family's own default
    assert MoCoGAN(motion_dim=6, **TINY).arguments["generator"] is None  # what it builds then, it builds again


def test_copies_keep_them():
    model = DCGAN(real_label=0.9, **TINY)
    other = copy.deepcopy(model)
    assert other.arguments == model.arguments and torch.equal(other.sample(1), model.sample(1))
