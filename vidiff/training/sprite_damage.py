"""Frames that are nearly those of the embedded set and must not be taken for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Of each kind the severity at which a sprite still counts (below the first number), and from which it is none (above
# the second); between the two nothing is asked of the network.
Damage = Callable[[Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def rand(like: Tensor, low: float, high: float, draw: torch.Generator) -> Tensor:
    """Uniform numbers, one a frame."""
    return low + (high - low) * torch.rand(len(like), generator=draw)


def smooth_noise(n: int, channels: int, side: int, cells: int, draw: torch.Generator) -> Tensor:
    """Noise (n, channels, side, side) of unit scale whose waves are about side / cells pixels long."""
    coarse = torch.randn(n, channels, cells + 2, cells + 2, generator=draw)
    return F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True) * 1.3


def blur(frames: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, a sigma (N,) in pixels for each frame; edges repeated."""
    half = 10
    at = torch.arange(-half, half + 1, dtype=frames.dtype)
    kernel = torch.exp(-0.5 * (at / sigma[:, None].clamp_min(1e-3)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    n, c, h, w = frames.shape
    x = F.pad(frames, (half,) * 4, mode="replicate").reshape(1, n * c, h + 2 * half, w + 2 * half)
    weight = kernel.repeat_interleave(c, 0)
    x = F.conv2d(x, weight[:, None, None], groups=n * c)
    x = F.conv2d(x, weight[:, None, :, None], groups=n * c)
    return x.view(n, c, h, w)


def _grid(frames: Tensor, shift: Tensor) -> Tensor:
    """Frames sampled at each pixel plus a shift (N, 2, H, W) in pixels."""
    n, _, h, w = frames.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    grid = torch.stack([(x + shift[:, 0] + 0.5) * 2 / w - 1, (y + shift[:, 1] + 0.5) * 2 / h - 1], -1)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)


def blurred(frames, backs, radius, draw):
    ratio = rand(frames, 0.05, 1.2, draw) ** 1.3
    return blur(frames, (ratio * radius).clamp(0, 4)), _grade(ratio, 0.10, 0.26)


def noisy(frames, backs, radius, draw):
    sigma = rand(frames, 0.02, 0.9, draw)
    noise = torch.randn(frames.shape, generator=draw)
    noise = torch.where((torch.rand(len(frames), generator=draw) < 0.3)[:, None, None, None], noise[:, :1], noise)
    return frames + noise * sigma[:, None, None, None], _grade(sigma, 0.08, 0.35)


def blended(frames, backs, radius, draw):
    weight = rand(frames, 0.03, 0.6, draw)
    w = weight[:, None, None, None]
    return frames * (1 - w) + frames.roll(1, 0) * w, _grade(weight, 0.06, 0.25)


def faded(frames, backs, radius, draw):
    weight = rand(frames, 0.03, 1.0, draw)
    w = weight[:, None, None, None]
    return frames * (1 - w) + backs * w, _grade(weight, 0.08, 0.35)


def hue(frames, backs, radius, draw):
    angle = rand(frames, 0.0, math.pi, draw)
    sign = torch.where(torch.rand(len(frames), generator=draw) < 0.5, -1.0, 1.0)
    c, s = torch.cos(angle), torch.sin(angle) * sign
    third, root = (1 - c) / 3, s / math.sqrt(3)
    a, b, d = c + third, third - root, third + root
    turn = torch.stack([torch.stack(r, -1) for r in ((a, b, d), (d, a, b), (b, d, a))], -2)  # (N, 3, 3)
    return torch.einsum("nij,njhw->nihw", turn, frames), _grade(angle, 0.12, 0.65)


def grey(frames, backs, radius, draw):
    keep = rand(frames, -0.6, 1.0, draw)
    mean = frames.mean(1, keepdim=True)
    return mean + (frames - mean) * keep[:, None, None, None], _grade(1 - keep, 0.12, 0.6)


def inverted(frames, backs, radius, draw):
    order = [(1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2)][int(torch.randint(0, 4, (1,), generator=draw))]
    flip = torch.where(torch.rand(len(frames), generator=draw) < 0.5, -1.0, 1.0)[:, None, None, None]
    return frames[:, order] * flip, torch.zeros(len(frames))


def warped(frames, backs, radius, draw):
    ratio = rand(frames, 0.0, 0.7, draw)
    cells = int(torch.randint(3, 9, (1,), generator=draw))
    shift = smooth_noise(len(frames), 2, frames.shape[-1], cells, draw)
    shift = shift / shift.square().mean((1, 2, 3), keepdim=True).sqrt()
    return _grid(frames, shift * (ratio * radius)[:, None, None, None]), _grade(ratio, 0.05, 0.22)


def coarse(frames, backs, radius, draw):
    factor = int(torch.randint(3, 8, (1,), generator=draw))
    small = F.interpolate(frames, size=max(3, 32 // factor), mode="bilinear", antialias=True, align_corners=False)
    mode = ("nearest", "bilinear", "bicubic")[int(torch.randint(0, 3, (1,), generator=draw))]
    return F.interpolate(small, frames.shape[-2:], mode=mode), _grade(factor / radius, 0.2, 0.55)


def patches(frames, backs, radius, draw):
    size = (2, 4, 8)[int(torch.randint(0, 3, (1,), generator=draw))]
    cut = F.unfold(frames, size, stride=size)
    order = torch.randperm(cut.shape[2], generator=draw)
    return F.fold(cut[:, :, order], frames.shape[-2:], size, stride=size), torch.zeros(len(frames))


KINDS: tuple[tuple[Damage, float], ...] = (
    *((blurred, 3.0), (noisy, 1.5), (blended, 2.0), (faded, 1.0), (hue, 1.0), (grey, 1.0)),
    *((inverted, 0.7), (warped, 3.0), (coarse, 1.5), (patches, 0.6)),
)


def _grade(severity: Tensor, harmless: float, fatal: float) -> Tensor:
    """1: still a sprite, 0: none, 0.5: nothing is asked."""
    return torch.where(severity <= harmless, 1.0, torch.where(severity >= fatal, 0.0, 0.5))


def discs(centre: Tensor, size: Tensor, side: int = 32) -> Tensor:
    """Soft discs (N, side, side) around centres (N, 2) in pixels."""
    axis = torch.arange(side, dtype=centre.dtype)
    gap = (axis - centre[:, 0, None])[:, None].square() + (axis - centre[:, 1, None])[:, :, None].square()
    return torch.sigmoid((size[:, None, None] - gap.sqrt()) * 2)


def blobs(frames: Tensor, backs: Tensor, centre: Tensor, radius: Tensor, draw: torch.Generator) -> Tensor:
    """A blob without a shape in place of the sprite, in two colors taken from it."""
    n, _, h, w = frames.shape
    axis = torch.arange(h, dtype=torch.float32)
    dx = (axis - centre[:, 0, None])[:, None].expand(n, h, w)
    dy = (axis - centre[:, 1, None])[:, :, None].expand(n, h, w)
    turn, outline = torch.atan2(dy, dx), torch.ones(n, h, w)
    for k in range(1, 6):
        size, phase = 0.3 * torch.randn(n, 1, 1, generator=draw) / k**0.3, 6.3 * torch.rand(n, 1, 1, generator=draw)
        outline = outline + size * torch.cos(k * turn + phase)
    scale = rand(frames, 0.6, 1.3, draw) * radius
    inside = scale[:, None, None] * outline.clamp_min(0.15) - torch.hypot(dx, dy)
    inside = torch.sigmoid(inside / rand(frames, 0.2, 1.5, draw)[:, None, None])[:, None]
    rows = torch.arange(n)

    def color() -> Tensor:
        at = centre + (torch.rand(n, 2, generator=draw) - 0.5) * 1.2 * radius[:, None]
        at = at.round().long().clamp(0, h - 1)
        return frames[rows, :, at[:, 1], at[:, 0]][:, :, None, None]

    cells = int(torch.randint(3, 10, (1,), generator=draw))
    mix = torch.sigmoid(smooth_noise(n, 1, h, cells, draw) * rand(frames, 0.5, 6, draw)[:, None, None, None])
    paint = color() * mix + color() * (1 - mix)
    return backs * (1 - inside) + paint * inside


def halves(frames: Tensor, other: Tensor, centre: Tensor, radius: Tensor, draw: torch.Generator) -> Tensor:
    """A straight cut through the sprite: on one side of it there is something else."""
    n, _, h, w = frames.shape
    axis, turn = torch.arange(h, dtype=torch.float32), rand(frames, 0, 2 * math.pi, draw)[:, None, None]
    dx = (axis - centre[:, 0, None])[:, None].expand(n, h, w)
    dy = (axis - centre[:, 1, None])[:, :, None].expand(n, h, w)
    line = dx * torch.cos(turn) + dy * torch.sin(turn) - (rand(frames, -0.35, 0.35, draw) * radius)[:, None, None]
    side = torch.sigmoid(line / rand(frames, 0.2, 1.5, draw)[:, None, None])[:, None]
    return frames * (1 - side) + other * side


def brought_to(other: Tensor, where: Tensor, centre: Tensor) -> Tensor:
    """Other frames moved so that what was at `where` (N, 2) is at `centre`."""
    shift = (where - centre)[:, :, None, None].expand(-1, -1, *other.shape[-2:])
    return _grid(other, shift)


def damaged(frames: Tensor, backs: Tensor, radius: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """One kind of damage for all frames of a group -> frames, and 1, 0.5 or 0 for each, see `_grade`."""
    weights = torch.tensor([w for _, w in KINDS])
    kind = KINDS[int(torch.multinomial(weights, 1, generator=draw))][0]
    return kind(frames, backs, radius, draw)
