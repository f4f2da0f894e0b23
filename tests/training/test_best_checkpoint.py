"""Which checkpoint is the best: a small distance, of clips that move about as much as real ones."""

from __future__ import annotations

import math

import pytest

from vidiff.metrics.resolve import resolve_metrics
from vidiff.training.evaluation import EvaluationOptions
from vidiff.training.generator_evaluation import GeneratorEvaluation


def score(*names: str, **values: float) -> float:
    evaluation = GeneratorEvaluation(None, EvaluationOptions())
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
