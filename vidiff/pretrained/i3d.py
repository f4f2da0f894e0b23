"""I3D as the published TorchScript file."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from vidiff.errors import UsageError


def i3d_network(file: Path) -> nn.Module:
    """The network of a verified file: clips float (B, 3, T, H, W) in 0..255, `rescale=True, resize=True,
    return_features=True` -> logits (B, 400).

    Raises:
        UsageError: the file is no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            # The published file is TorchScript, whatever torch recommends for new ones.
            warnings.filterwarnings("ignore", message=".*torch.jit.load", category=FutureWarning)
            return torch.jit.load(str(file), map_location="cpu").eval()
    except RuntimeError as error:
        raise UsageError(f"{file}: not a TorchScript file ({str(error).splitlines()[0]})") from error
