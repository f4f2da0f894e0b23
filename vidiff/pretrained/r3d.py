"""R3D-18, a network for videos of actions."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vidiff import keyed
from vidiff.pretrained.frozen import load_weights


def r3d_network(needed_by: str, path: str | Path | None = None) -> nn.Module:
    """R3D-18 (Tran et al. 2018, 1711.11248) of torchvision, trained on Kinetics-400, without its last layer.

    Takes clips (B, 3, T, H, W) in units of the training set's channels, gives (B, 512).

    Args:
        needed_by: the metric that asks for it, for the message.
        path: file or folder that is searched first.

    Raises:
        UsageError: the weights are missing or others.
    """
    from torchvision.models.video import r3d_18

    weights = load_weights("r3d18", needed_by, path)
    with keyed.forked("r3d18"):
        network = r3d_18(weights=None)
    network.load_state_dict(weights)
    network.fc = nn.Identity()
    return network
