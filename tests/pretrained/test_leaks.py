"""A model says which frozen networks it was trained against, and metrics on these are marked."""

from __future__ import annotations

from types import SimpleNamespace

from torch import nn

from vidiff.metrics.protocol import mark_leaks
from vidiff.pretrained.frozen import Frozen, trained_against


class Loss:
    """An object of the package that is no module."""

    def __init__(self, inner):
        self.inner = inner


Loss.__module__ = "vidiff.models.loss"


def test_frozen_networks_are_found_wherever_a_model_holds_them():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert trained_against(model) == []
    model[1].teacher = Frozen(nn.Linear(1, 1), "bb")
    model.terms = {"a": [Loss(Frozen(nn.Linear(1, 1), "aa"))], "unknown": Frozen(nn.Linear(1, 1))}
    model.ring = Loss(None)
    model.ring.inner = model.ring  # ends all the same
    model.elsewhere = SimpleNamespace(net=Frozen(nn.Linear(1, 1), "cc"))  # of another package: none of our business
    assert trained_against(model) == ["aa", "bb"]


def test_metrics_of_these_networks_are_marked():
    results = {
        "fd_lite0": {"value": 1.0, "protocol": {"sha256": "abcdef"}},
        "fvd_random": {"value": 2.0, "protocol": {"sha256": "123456"}},
    }
    mark_leaks(results, [])
    assert not any("leak" in r for r in results.values())
    mark_leaks(results, ["abcd", ""])
    assert "trained against" in results["fd_lite0"]["leak"] and "leak" not in results["fvd_random"]
