"""EfficientNet-Lite0 from an installed package: features of pictures without any download."""

from __future__ import annotations

import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.pretrained.frozen import load_weights
from vidiff.pretrained.weights import MANIFEST, find


def lite0_available() -> bool:
    """Whether EfficientNet-Lite0 can be had here: its weights package and timm are both installed."""
    return find(MANIFEST["lite0"]) is not None and importlib.util.find_spec("timm") is not None


def lite0_network(needed_by: str = "fd_lite0") -> nn.Module:
    """EfficientNet-Lite0 (Tan and Le 2019, 1905.11946) with ImageNet weights as a timm network, input
    (x/255 - 0.5)/0.5.

    Raises:
        UsageError: package or timm missing, or the file is not the known one.
    """
    _check_timm(needed_by)
    weights = load_weights("lite0", needed_by)
    network = _layers("lite0")
    own = network.state_dict()
    # Same layers in the same order under other names: rename by position, insisting on role and shape.
    for new, old in zip(own, weights, strict=True):
        if own[new].shape != weights[old].shape or new.rpartition(".")[2] != old.rpartition(".")[2]:
            raise UsageError(f"{needed_by}: the weights' entry {old} {tuple(weights[old].shape)} does not fit {new}")
    network.load_state_dict(dict(zip(own, weights.values())), strict=True)
    return network.requires_grad_(False).eval()


def random_lite0(seed: int, needed_by: str) -> nn.Module:
    """The layers of EfficientNet-Lite0 with random weights, a function of the seed; input as for `lite0_network`.

    The statistics of its BatchNorms are those of `pictures`, so that its maps neither fade nor grow with depth.

    Raises:
        UsageError: timm is missing.
    """
    _check_timm(needed_by)
    network = _layers("random lite0", seed)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 1.0  # of one batch alone
    with torch.no_grad():
        network.train().forward_features(pictures())
    return network.requires_grad_(False).eval()


def pictures(count: int = 16, size: int = 64) -> Tensor:
    """Pictures of nothing (count, 3, size, size) in [-1, 1], always the same: noise from coarse to fine."""
    with keyed.forked("pictures"):
        grids = [torch.randn(count, 3, k, k) for k in (2, 4, 8, 16, 32)]
    layers = [F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False) for grid in grids]
    return torch.stack(layers).sum(0).mul(0.3).clamp(-1, 1)


def _check_timm(needed_by: str) -> None:
    if importlib.util.find_spec("timm") is None:
        raise UsageError(f"{needed_by} needs the package timm: {MANIFEST['lite0'].source}")


def _layers(*key: int | str) -> nn.Module:
    """The network as timm draws it under a key: its caller's random numbers are left alone."""
    import timm

    with keyed.forked(*key):
        return timm.create_model("tf_efficientnet_lite0", pretrained=False)
