"""Networks that measure translations: which domain is a clip of, where are its sprites? Trained on real clips only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vidiff.metrics.classifier import DomainClassifier, train_classifier
from vidiff.metrics.position import PositionRegressor, position_error, train_regressor
from vidiff.metrics.stored import load_or_train
from vidiff.paths import cache_dir
from vidiff.training.evaluation import REPORT_SEED

PROBE_CLIPS = 256  # real clips of each domain that the probes learn from
PROBE_VERSION = 1  # raise it whenever a probe is trained in another way: the kept ones are then not used


class Probes(NamedTuple):
    """The trained networks, and how good they are on real held-out clips.

    Args:
        classifier: names the domain of a clip.
        regressor: finds the sprites of the embedded videos; None for other videos.
        accuracy: domain -> share of its real clips that the classifier is right about.
        error: domain -> mean position error of the regressor on its real clips, in pixels; None without one.
    """

    classifier: DomainClassifier
    regressor: PositionRegressor | None
    accuracy: dict[str, float]
    error: dict[str, float] | None


def train_probes(data: Any, split: str, num_clips: int, device: torch.device) -> Probes:
    """Both probes, the same on every process; they are trained once for these clips and kept in the cache.

    Args:
        data: a DomainDataModule.
        split: of the real clips that they are tried on; they learn from `train`.
        num_clips: clips of each domain that they are tried on.
        device: where they are trained and run.
    """
    count = min(PROBE_CLIPS, max(num_clips, 32))

    def draw(split: str, count: int, domain: str) -> dict[str, Tensor]:
        batches = list(data.eval_batches(split, count, REPORT_SEED, domain=domain))
        return {k: torch.cat([b[k] for b in batches]) for k in ("clip", "positions") if k in batches[0]}

    @functools.cache
    def clips() -> list[dict[str, Tensor]]:
        return [draw("train", count, domain) for domain in data.domains]

    def kept(name: str, build: Callable[[], nn.Module], train: Callable[[], nn.Module]) -> Any:
        header = {"judge": name, "version": PROBE_VERSION, "clips": count, "data": data.describe()}
        return load_or_train(cache_dir() / "judges", header, build, train).to(device)

    def new_classifier() -> nn.Module:
        return train_classifier([c["clip"] for c in clips()], REPORT_SEED, device=device)

    def new_regressor() -> nn.Module:
        inputs, positions = (torch.cat([c[k] for c in clips()]) for k in ("clip", "positions"))
        return train_regressor(inputs, positions, REPORT_SEED, device=device)

    classifier = kept("domain", lambda: DomainClassifier(len(data.domains), data.channels), new_classifier)
    real = {domain: draw(split, num_clips, domain) for domain in data.domains}
    accuracy = {
        domain: float((classifier.classify(c["clip"]) == k).float().mean())
        for k, (domain, c) in enumerate(real.items())
    }
    if not all("positions" in c for c in real.values()):
        return Probes(classifier, None, accuracy, None)
    regressor = kept("position", lambda: PositionRegressor(data.channels), new_regressor)
    error = {
        domain: float(position_error(regressor.locate(c["clip"]), c["positions"]).mean()) for domain, c in real.items()
    }
    return Probes(classifier, regressor, accuracy, error)
