"""What has moved since a checkpoint or a configuration was written: the one place that knows older names."""

from __future__ import annotations

from typing import Any

MODULES = {  # what a class path begins with -> where that is now
    "vidiff.models.ls_gan": "vidiff.models.loss_sensitive",
    "vidiff.models._strategies": "vidiff.models.strategies",
    "vidiff.nn.temporal": "vidiff.nn.temporal_encoders",
    "vidiff.nn.parts": "vidiff.nn.extra_layers",
    "vidiff.nn.pyramid": "vidiff.nn.multiscale",
    "vidiff.nn.translation": "vidiff.nn.resnet",
    "vidiff.augment.temporal": "vidiff.augment.time_warp",
    "vidiff.checkpoint": "vidiff.inference.checkpoint",
}
CLASSES = {  # a class path, its module under the present name -> where that class is now
    "vidiff.nn.extra_layers.Equipped": "vidiff.nn.extra_layers.WithExtraLayers",
    "vidiff.nn.multiscale.MultiScaleDiscriminator": "vidiff.nn.multiscale.MultiScalePatchDiscriminator",
}
VALUES = {"conv": {"factorised": "factorized"}}  # an argument -> its older values and what they are now


def today(path: str) -> str:
    """The present name of a class that may have been written under an older one."""
    for old, new in MODULES.items():
        if path.startswith(f"{old}."):
            path = new + path[len(old) :]
            break
    return CLASSES.get(path, path)


def renamed(value: Any) -> Any:
    """Nested dicts and lists with every `class_path`, and every value of `VALUES`, under its present name."""
    if isinstance(value, dict):
        named = {k: VALUES[k].get(v, v) if k in VALUES and isinstance(v, str) else renamed(v) for k, v in value.items()}
        if isinstance(path := named.get("class_path"), str):
            named["class_path"] = today(path)
        return named
    return type(value)(renamed(v) for v in value) if isinstance(value, list | tuple) else value
