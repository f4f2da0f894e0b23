"""Which checkpoint is the best, and that the untrained control is measured exactly like the model."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.clip import signed_to_uint8
from vidiff.metrics.resolve import resolve_metrics
from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.models.r3gan import R3GAN
from vidiff.training.evaluation import EvaluationOptions
from vidiff.training.generator_evaluation import GeneratorEvaluation


def score(*names: str, **values: float) -> float:
    evaluation = GeneratorEvaluation(None, EvaluationOptions(), None, None)
    evaluation._training_metrics = resolve_metrics(names)
    return evaluation.score({f"val/{k}": v for k, v in values.items()})


def test_clips_that_hardly_move_lose():
    """The values of a MoCoGAN: nearly still clouds after 250 steps, wandering objects at the end."""
    still = score("fvd_random", "motion", fvd_random=3.10, motion=0.186)
    moving = score("fvd_random", "motion", fvd_random=3.58, motion=1.33)
    assert moving == pytest.approx(3.58 * 1.33) and still == pytest.approx(3.10 / 0.186)
    # Finite: a state that stands still is better than none.
    assert score("fvd_random", "motion", fvd_random=1.0, motion=0.0) == pytest.approx(100)


def test_too_much_motion_costs_as_much_as_too_little():
    twice, half = (score("fvd_random", "motion", fvd_random=0.5, motion=m) for m in (2.0, 0.5))
    assert twice == half == pytest.approx(1.0)
    assert score("fvd_random", "motion", fvd_random=0.5, motion=1.0) == 0.5


def test_the_first_metric_decides_where_motion_is_not_measured():
    """Images have none, and neither have real clips that stand still."""
    assert score("fvd_random", "diversity", fvd_random=0.5, diversity=9.0) == 0.5
    assert score("fd_lite0", "fvd_random", fd_lite0=20.0, fvd_random=0.5) == 20.0
    assert score("fvd_random", "motion", diversity=1.0) == math.inf


def test_a_metric_that_sees_time_decides_alone():
    assert score("clip_distance", "fvd_random", "motion", clip_distance=3.0, fvd_random=9.0, motion=0.2) == 3.0


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
