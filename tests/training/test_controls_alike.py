"""The untrained control is measured exactly like the model, and a report says in words whom the model is ahead of."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.clip import signed_to_uint8
from vidiff.metrics.controls import CONTROLS, standing
from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.models.r3gan import R3GAN
from vidiff.training.report import _verdict


def clips_of(model) -> torch.Tensor:
    return torch.cat([clips for _, clips in model.iter_samples(range(6), seed=3, batch_size=4)])


@pytest.mark.parametrize("family", [DCGAN, MoCoGAN, R3GAN])
def test_untrained_is_a_model_that_was_never_trained(family):
    """Its clips go the way of the model's own, BatchNorm's statistics measured for its own weights."""
    sizes = TINY | {"width": 8}
    model = family(**sizes)
    quiet_trainer(max_steps=3).fit(model, Clips())
    before = clips_of(model)
    untrained = clips_of_untrained(model)
    assert torch.equal(untrained, clips_of(family(**sizes)))
    assert not torch.equal(untrained, before)
    assert torch.equal(clips_of(model), before)  # the model is as it was


def clips_of_untrained(model) -> torch.Tensor:
    with model.generator_ema.replaced_by(model.initial_generator()):
        return clips_of(model)


def test_batch_norm_of_the_untrained_generator_is_not_at_its_initial_statistics():
    model = DCGAN(**TINY)
    initial = model.initial_generator()  # running mean 0, variance 1
    with torch.no_grad():
        as_built = signed_to_uint8(initial(model.latents(range(6), "sample", 3)))
    measured = clips_of_untrained(model)
    # N(0, 0.02) weights and a variance of 1 make every clip the same grey.
    assert as_built.float().std() < 2 < 3 * as_built.float().std() + 2 < measured.float().std()


def test_standing_is_that_of_the_worst_run():
    names = [c.name for c in CONTROLS]
    assert len(set(names)) == len(names) and {c.shows for c in CONTROLS} == {"rubbish", "limit"}
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 0.5}), (3.0, {"untrained": 2.0})])
    assert ahead == [] and [c.name for c in behind] == ["untrained", "frames_frozen"]
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 1.0, "grey_noise": None})])
    assert [c.name for c in ahead] == ["untrained"] and [c.name for c in behind] == ["frames_frozen"]


def test_a_report_names_what_a_model_is_ahead_of_and_behind():
    controls = {"untrained": 28.0, "mean_frame_frozen": 6.0, "frames_frozen": 0.2, "real_held_out": 0.3}
    assert _verdict(0.25, controls) == [
        "By fvd_random ahead of: untrained, mean frame frozen, real held out; behind: frames frozen."
    ]
    first, second = _verdict(7.0, controls)
    assert first.startswith("NOT ahead of mean frame frozen:")
    assert second == "By fvd_random ahead of: untrained; behind: mean frame frozen, frames frozen, real held out."
