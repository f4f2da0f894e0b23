"""Graded corruptions of real clips: what a measure has to see, and the more of it the farther away.

Each makes clips worse in one known way, in five doses. All randomness is keyed by (seed, clip), and a larger dose
repeats what the smaller one did and adds to it, so that two doses differ in nothing but the dose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff import keyed

Corrupt = Callable[[Tensor, float, torch.Generator], Tensor]
SIDE = 32  # doses in pixels are those of clips of this height, and scale with it


def _pixels(clip: Tensor, dose: float) -> float:
    return dose * clip.shape[-2] / SIDE


def _frozen(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    t = clip.shape[1]
    still = round(dose * (t - 1))
    return clip[:, [min(i, t - 1 - still) for i in range(t)]]


def _shuffled(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    t = clip.shape[1]
    chosen = torch.randperm(t, generator=draw)[: max(round(dose * t), 2)]
    order = torch.arange(t)
    order[chosen] = chosen.roll(1)  # of the chosen frames none stays where it was
    return clip[:, order]


def _reversed(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    return clip.flip(1) if float(torch.rand(1, generator=draw)) < dose else clip


def _dropped(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    t = clip.shape[1]
    gone = set((torch.randperm(t - 1, generator=draw)[: max(round(dose * (t - 1)), 1)] + 1).tolist())
    order = [0]
    for i in range(1, t):
        order.append(order[-1] if i in gone else i)
    return clip[:, order]


def _jittered(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    _, t, h, w = clip.shape
    angles = 2 * math.pi * torch.rand(t, generator=draw)
    reach = max(round(_pixels(clip, dose)), 1)
    out = []
    for frame, angle in zip(clip.unbind(1), angles.tolist()):
        dy, dx = round(reach * math.sin(angle)), round(reach * math.cos(angle))
        rows, columns = (torch.arange(h) + dy).clamp(0, h - 1), (torch.arange(w) + dx).clamp(0, w - 1)
        out.append(frame[:, rows][:, :, columns])
    return torch.stack(out, 1)


def _flickering(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    return _rounded(clip.float() + dose * torch.randn(1, clip.shape[1], 1, 1, generator=draw))


def _noisy(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    return _rounded(clip.float() + dose * torch.randn(clip.shape, generator=draw))


def _blurred(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    sigma = _pixels(clip, dose)
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).reshape(1, 1, -1)
    for side in (-2, -1):
        lines = clip.float().transpose(side, -1)
        flat = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (reach, reach), mode="replicate")
        clip = F.conv1d(flat, kernel).reshape(lines.shape).transpose(side, -1)
    return _rounded(clip)


def _tinted(clip: Tensor, dose: float, draw: torch.Generator) -> Tensor:
    shift = torch.tensor([dose, 0.0, -dose] if len(clip) == 3 else [dose])
    return _rounded(clip.float() + shift[:, None, None, None])


def _rounded(clip: Tensor) -> Tensor:
    return clip.round().clamp(0, 255).to(torch.uint8)


class Corruption(NamedTuple):
    """One way of making clips worse.

    Args:
        name: in tables.
        unit: what a dose counts.
        doses: five, rising.
        make: a clip uint8 (C, T, H, W), a dose and a generator -> the corrupted clip.
    """

    name: str
    unit: str
    doses: tuple[float, ...]
    make: Corrupt

    def __call__(self, clips: Tensor, dose: float, seed: int = 0) -> Tensor:
        """uint8 clips (N, C, T, H, W) -> the same, corrupted; clip i depends on (seed, i) and the dose alone."""
        draws = (keyed.generator("corruption", self.name, seed, i) for i in range(len(clips)))
        return torch.stack([self.make(clip, dose, draw) for clip, draw in zip(clips, draws)])


SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
CORRUPTIONS = (
    Corruption("frozen", "share of the frames, the last ones", SHARES, _frozen),
    # Beyond three quarters there is hardly more disorder: the doses lie closer below.
    Corruption("shuffled", "share of the frames", (0.2, 0.35, 0.5, 0.75, 1.0), _shuffled),
    Corruption("reversed", "share of the clips", SHARES, _reversed),
    Corruption("jittered", "pixels", (1, 2, 3, 4, 6), _jittered),
    Corruption("dropped", "share of the frames, the one before in their place", (0.1, 0.2, 0.35, 0.5, 0.7), _dropped),
    Corruption("flickering", "grey levels", (4, 8, 16, 32, 48), _flickering),
    Corruption("noise", "grey levels", (4, 8, 16, 32, 64), _noisy),
    Corruption("blur", "pixels", (0.5, 0.75, 1, 1.5, 2.5), _blurred),
    Corruption("tinted", "grey levels more red and less blue", (8, 16, 32, 48, 64), _tinted),
)
