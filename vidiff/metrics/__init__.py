"""Measures between sets of clips. Names are imported at first use, so that torch, timm and torchmetrics load late.

>>> from vidiff.metrics import frechet_distance, Evaluator, resolve_metrics, FrechetVideoDistance
"""

from __future__ import annotations

import importlib

_HOME = {
    "Moments": "frechet",
    "frechet_distance": "frechet",
    "kernel_distance": "kernel",
    "RandomConv3d": "features",
    "Lite0": "features",
    "Extractor": "features",
    "Evaluator": "evaluator",
    "jackknife": "uncertainty",
    "gather_processes": "gather",
    "Metric": "resolve",
    "Protocol": "protocol",
    "check_comparable": "protocol",
    "parse_name": "protocol",
    "resolve_metrics": "resolve",
    "WeightsMissing": "vidiff.pretrained.weights",
    "FrechetVideoDistance": "torchmetric",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'vidiff.metrics' has no attribute {name!r}")
    home = _HOME[name]
    module = importlib.import_module(home if "." in home else f"vidiff.metrics.{home}")
    value = getattr(module, name)
    globals()[name] = value
    return value
