"""EfficientNet-Lite0 from an installed package: features of pictures without any download."""

from __future__ import annotations

import importlib.util

from torch import nn

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
    if importlib.util.find_spec("timm") is None:
        raise UsageError(f"{needed_by} needs the package timm: {MANIFEST['lite0'].source}")
    weights = load_weights("lite0", needed_by)
    import timm

    with keyed.forked("lite0"):  # building a network draws from the global RNG, loading weights must not
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = network.state_dict()
    # Same layers in the same order under other names: rename by position, insisting on role and shape.
    for new, old in zip(own, weights, strict=True):
        if own[new].shape != weights[old].shape or new.rpartition(".")[2] != old.rpartition(".")[2]:
            raise UsageError(f"{needed_by}: the weights' entry {old} {tuple(weights[old].shape)} does not fit {new}")
    network.load_state_dict(dict(zip(own, weights.values())), strict=True)
    return network.requires_grad_(False).eval()
