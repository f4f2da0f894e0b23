"""RAFT, a network for optical flow."""

from __future__ import annotations

from torch import nn

from vidiff import keyed
from vidiff.pretrained.frozen import load_weights


def raft_network(needed_by: str) -> nn.Module:
    """RAFT (Teed and Deng 2020, 2003.12039), torchvision's small network.

    Raises:
        UsageError: the weights are missing or others.
    """
    from torchvision.models.optical_flow import raft_small

    weights = load_weights("raft", needed_by)
    with keyed.forked("raft"):
        network = raft_small(weights=None)
    network.load_state_dict(weights)
    return network
