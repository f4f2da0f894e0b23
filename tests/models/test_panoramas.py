"""Families on clips that show all around: shapes, networks, losses, and who cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import losses_of, numbers
from torch import nn

from vidiff.errors import UsageError
from vidiff.models import families
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.stargan import StarGAN
from vidiff.nn.generators import ConvGenerator

AROUND = dict(num_frames=4, resolution=16, width=4, projection="equirectangular")


def clips(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 4, 16, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_generator_of_panoramas(tmp_path):
    model = DCGAN(**AROUND, latent_dim=8)
    model.check_shape()
    assert model.sample(2).shape == (2, 3, 4, 16, 32) and model.initial_generator()(torch.randn(1, 8)).shape[-1] == 32
    batch = {"clip": clips(), "slot": torch.arange(2)}
    for player in "dg":
        sum(losses_of(model, player, batch).values()).backward()
    assert all(type(m).__name__.startswith("Circular") for m in model.generator.layers[3::3] if hasattr(m, "stride"))


def test_rows_count_by_latitude_in_the_losses_of_a_translation():
    """An error at a pole costs little, the same at the equator much; flat clips know no such thing."""
    for projection, equal in (("flat", True), ("equirectangular", False)):
        model = CycleGAN(**AROUND | {"projection": projection}, pool_size=4)
        x, pole, equator = clips(), clips(), clips()
        pole[..., 0, :] += 1
        equator[..., 8, :] += 1
        for kind in ("l1", "mse"):
            near, far = float(model.distance(x, pole, kind)), float(model.distance(x, equator, kind))
            assert near == pytest.approx(far, rel=1e-4) if equal else far > 5 * near


@pytest.mark.parametrize("family", [CycleGAN, StarGAN])
def test_translations_of_panoramas(family):
    more = {"num_classes": 3, "game": "least_squares"} if family is StarGAN else {"pool_size": 4}
    model = family(**AROUND, **more)
    model.check_shape()
    batch = {"clip": clips(), "label": torch.tensor([0, 2]), "clip_a": clips(1), "clip_b": clips(2)}
    batch["slot"] = torch.arange(2)
    for player in "dg":
        assert all(torch.isfinite(torch.tensor(v)) for v in numbers(losses_of(model, player, batch)).values())
    x = torch.randint(0, 256, (1, 3, 4, 16, 32), dtype=torch.uint8)
    a, b = model.translate(x, 0, 1), model.translate(x.roll(8, -1), 0, 1)
    assert (a.roll(8, -1).int() - b.int()).abs().max() <= 1


def test_who_makes_or_judges_square_clips_says_so():
    square = {"generator": lambda spec: ConvGenerator(replace(spec, projection="flat"))}
    with pytest.raises(UsageError, match="needs clips of 16 x 32, the generator of DCGAN makes 16 x 16"):
        DCGAN(**AROUND, latent_dim=8, **square).check_shape()

    class Square(nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.head = nn.Linear(spec.channels * spec.num_frames * spec.resolution**2, 1)

        def forward(self, clip, label=None):
            return self.head(clip.flatten(1))[:, 0]

    with pytest.raises(UsageError, match="clips of 16 x 32, and the discriminator of DCGAN takes square ones"):
        DCGAN(**AROUND, latent_dim=8, discriminator=Square).check_shape()


@pytest.mark.parametrize("family", sorted(families()))
@pytest.mark.parametrize("num_classes", [None, 2])
def test_every_family_makes_and_judges_panoramas(family, num_classes):
    if family == "StarGAN" and num_classes is None or family in ("CycleGAN", "Restoration") and num_classes:
        return
    settings = AROUND | {"num_frames": 8, "width": 4, "num_classes": num_classes}
    (model := families()[family](**settings)).check_shape()
    parts = list(model.generator.modules())
    assert any(type(m).__name__.startswith("Circular") or getattr(m, "wraps", False) for m in parts)
    clip = torch.zeros(2, 3, 8, 16, 32)
    batch = {name: clip for name in ("clip", "clip_a", "clip_b")}
    batch |= {"slot": torch.arange(2), "label": torch.zeros(2, dtype=torch.long)}
    model.before_batch(batch)
    for player in model.turn_order:
        assert all(torch.isfinite(torch.tensor(v)) for v in numbers(losses_of(model, player, batch)).values())


def test_two_eyes_are_seen_one_by_one_and_have_to_agree():
    """The translation of both is that of each; the term is 0 for eyes that agree, and counts those that do not."""
    pytest.importorskip("cv2")
    settings = AROUND | {"projection": "stereo"}
    model = CycleGAN(**settings, pool_size=4, stereo_weight=10.0)
    model.check_shape()
    x = torch.randint(0, 256, (2, 3, 4, 16, 32), dtype=torch.uint8)
    eyes = x.chunk(2, -1)
    one = CycleGAN(**settings | {"projection": "flat"}, pool_size=4)
    one.load_state_dict({k: v for k, v in model.state_dict().items() if "history" not in k}, strict=False)
    both = torch.cat([one.translate(eye, 0, 1) for eye in eyes], -1)
    assert (model.translate(x, 0, 1).int() - both.int()).abs().max() <= 1
    left = torch.nn.functional.interpolate(torch.rand(8, 3, 4, 4), 16, mode="bicubic").unflatten(0, (2, 4)) * 2 - 1
    same = left.transpose(1, 2).repeat(1, 1, 1, 1, 2)  # both eyes alike
    networks, terms = {}, model.consistency.terms
    agreed = terms(networks, same, same, same, "a", "b")["stereo_b"]
    other = torch.cat([same[..., :16], -same[..., 16:]], -1)
    assert float(agreed) < 0.5 < float(terms(networks, same, other, same, "a", "b")["stereo_b"])
    batch = {"clip_a": same, "clip_b": clips(2), "slot": torch.arange(2)}
    found = numbers(losses_of(model, "g", batch))
    assert {"stereo_a", "stereo_b"} <= set(found)
    with pytest.raises(UsageError, match="model.stereo_weight compares two eyes"):
        CycleGAN(**AROUND, pool_size=4, stereo_weight=1.0)
    with pytest.raises(UsageError, match="two eyes are for translations"):
        DCGAN(**settings, latent_dim=8).check_shape()
