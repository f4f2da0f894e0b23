"""Networks that are used but never trained here: how to load their weights and hold them outside of a model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vidiff.pretrained.weights import MANIFEST, require, verify


class Frozen:
    """A network in evaluation mode without gradients of its own; being no module, it stays out of a model's parameters,
    state dict, moving average and device moves, and follows its input instead.

    It works in float32, or in float64 for such input: half precision is for what can adapt to it by training.

    Args:
        network: the network.
        sha256: of the file of its weights. A model that trains against this network is not to be measured by it.
    """

    def __init__(self, network: nn.Module, sha256: str = ""):
        self.network = network.requires_grad_(False).eval()
        self.sha256 = sha256

    def network_for(self, x: Tensor) -> nn.Module:
        """The network on the device of x and in its precision, for an x that has been through `precise`."""
        own = next(self.network.parameters())
        if own.device != x.device or own.dtype != x.dtype:
            self.network.to(device=x.device, dtype=x.dtype)
        return self.network


def trained_against(model: nn.Module) -> list[str]:
    """The sha256 of every frozen network that a model holds, itself or in an object that is no module, sorted."""
    found, seen = set(), set()
    todo = [value for module in model.modules() for value in vars(module).values()]
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, nn.Module | Tensor):
            continue
        seen.add(id(value))
        if isinstance(value, Frozen):
            found.add(value.sha256)
        elif isinstance(value, dict | list | tuple):
            todo += value.values() if isinstance(value, dict) else value
        elif type(value).__module__.startswith("vidiff.") and hasattr(value, "__dict__"):
            todo += vars(value).values()
    return sorted(found - {""})


def precise(x: Tensor) -> Tensor:
    """x as float32, or as it is where it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def load_weights(key: str, needed_by: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """The tensors of a weights file that is here already; nothing is downloaded.

    Args:
        key: of `vidiff.pretrained.weights.MANIFEST`.
        needed_by: the setting that asks for it, for the message.
        path: file or folder that is searched first.

    Raises:
        WeightsMissing: no such file. UsageError: another sha256.
    """
    found = require(MANIFEST[key], needed_by, path)
    verify(found, MANIFEST[key])
    return torch.load(found, map_location="cpu", weights_only=True)
