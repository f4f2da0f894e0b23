"""What stands in for weights files that cannot be had here."""

from __future__ import annotations

import dataclasses
import hashlib

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.nn.style_maps import StyleMaps
from vidiff.pretrained.weights import MANIFEST


class StandIn(nn.Module):
    """Called like the I3D file; its features show the range and size that arrived."""

    def __init__(self, dim: int = 400):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        assert rescale and resize and return_features
        x = x / 127.5 - 1.0
        slots = torch.arange(self.dim, device=x.device, dtype=x.dtype) + 1.0
        return torch.sin(x.mean([1, 2, 3, 4])[:, None] * slots) + 0.1 * x[:, 0, :, 0, 0].mean(1)[:, None] * slots.cos()


def digest(path):
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put_i3d(folder, module=None):
    """A TorchScript file under the name of the I3D weights."""
    folder.mkdir(exist_ok=True)
    path = folder / "i3d_torchscript.pt"
    torch.jit.script(module or StandIn()).save(str(path))
    return path


def known(path, key="i3d", **changes):
    """The manifest's entry, as if this file were the known one."""
    return dataclasses.replace(MANIFEST[key], sha256=digest(path), **changes)


class StyleStandIn:
    """Two random convolutions: a style is a matter of colors and edges."""

    def __init__(self):
        with keyed.forked("stand-in"):
            self.a, self.b = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 16, 3, 2, 1)
        for p in (*self.a.parameters(), *self.b.parameters()):
            p.requires_grad_(False)

    def __call__(self, x: Tensor) -> StyleMaps:
        first = torch.relu(self.a(x))
        second = torch.relu(self.b(first))
        return StyleMaps(second, [first, second])
