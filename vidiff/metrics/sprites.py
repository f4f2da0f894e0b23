"""The networks behind `recognizable`: one finds and names the sprites of a frame, one names the motion of a track."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPES = ("disc", "square", "triangle", "star", "ring")
MOTIONS = ("bounce", "orbit", "pulse", "slide")
SIDE = 32  # pixels of a frame
STRIDE = 2  # pixels of a frame a cell of the heat maps
CANDIDATES = 3  # peaks kept of each shape and frame
TIMES = 16  # points in time that a track is brought to
REACH = 4.0  # pixels a frame of a video that a track goes without much doubt


def _block(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


class SpriteFinder(nn.Module):
    """Heat maps of sprites as in CenterNet (Zhou et al. 2019, 1904.07850), a map a shape, with radius and offset.

    Args:
        width: base channels.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        w = width
        self.fine = nn.Sequential(_block(3, w), _block(w, w, 2), _block(w, w))  # 32 -> 16
        self.middle = nn.Sequential(_block(w, 2 * w, 2), _block(2 * w, 2 * w))  # -> 8
        self.coarse = nn.Sequential(_block(2 * w, 3 * w, 2), _block(3 * w, 2 * w))  # -> 4
        self.merge = _block(4 * w, 2 * w)
        self.head = nn.Sequential(_block(3 * w, 2 * w), nn.Conv2d(2 * w, len(SHAPES) + 3, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, 32, 32) in [-1, 1] -> (N, 5 + 3, 16, 16): a logit a shape, log radius, offsets x and y."""
        fine = self.fine(frames)
        middle = self.middle(fine)
        coarse = F.interpolate(self.coarse(middle), scale_factor=2)
        deep = F.interpolate(self.merge(torch.cat([middle, coarse], 1)), scale_factor=2)
        return self.head(torch.cat([fine, deep], 1))


class MotionNamer(nn.Module):
    """A logit a motion, and a last one for a track that is none of them; three layers."""

    def __init__(self, width: int = 128):
        super().__init__()
        inputs = 3 * TIMES + 3 * (TIMES - 1) + 1
        self.layers = nn.Sequential(
            *(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, len(MOTIONS) + 1),
        )

    def forward(self, tracks: Tensor, frame_stride: int) -> Tensor:
        """Tracks (N, T, 3), x, y and radius in pixels of a frame of 32 -> logits (N, 4 + 1)."""
        span = (tracks.shape[1] - 1) * frame_stride
        track = F.interpolate(tracks.transpose(1, 2) / SIDE, TIMES, mode="linear", align_corners=True)  # (N, 3, TIMES)
        steps = track.diff(dim=2) * (10 * (TIMES - 1) / max(span, 1))
        time = torch.full_like(track[:, :1, 0], span / TIMES)
        return self.layers(torch.cat([4 * (track - 0.5).flatten(1), steps.flatten(1), time], 1))


class Candidates(NamedTuple):
    """Peaks (N, T, 5 shapes, CANDIDATES), best first: logits, and x, y, radius in pixels (.., 3)."""

    logits: Tensor
    where: Tensor


class Tracks(NamedTuple):
    """The most credible path of one shape through each clip.

    Args:
        shape: int64 (N,), position in SHAPES.
        where: x, y, radius in pixels of a frame of 32, (N, T, 3); the centre of the top left pixel is (0, 0).
        named: the logit of the best shape on the path (N, T).
        margin: that of the path's own shape minus the best other's there (N, T).
    """

    shape: Tensor
    where: Tensor
    named: Tensor
    margin: Tensor


def candidates(heads: Tensor) -> Candidates:
    """The highest peaks of what `SpriteFinder` returns for the frames of clips (N, T, 8, h, w)."""
    n, t, _, h, w = heads.shape
    shapes = len(SHAPES)
    flat = heads.flatten(0, 1)
    heat = flat[:, :shapes]
    peak = heat == F.max_pool2d(heat, 3, 1, 1)
    values, cells = heat.masked_fill(~peak, -30.0).flatten(2).topk(CANDIDATES)  # (N*T, 5, K)
    radius, dx, dy = (flat[:, shapes + i].flatten(1) for i in range(3))

    def at(maps: Tensor) -> Tensor:
        return maps.gather(1, cells.flatten(1)).view_as(values)

    x = (cells % w + 0.5 + at(dx)) * STRIDE - 0.5
    y = (cells // w + 0.5 + at(dy)) * STRIDE - 0.5
    where = torch.stack([x, y, at(radius).clamp(-1, 4).exp()], -1)
    return Candidates(*(v.unflatten(0, (n, t)) for v in (values, where)))


def track(found: Candidates, frame_stride: int = 1) -> Tracks:
    """For each shape the path through its peaks that loses least (Viterbi); of these the most credible."""
    n, t, s, k = found.logits.shape
    worth = F.logsigmoid(found.logits)  # (N, T, S, K)
    place = found.where[..., :2]
    best, came = worth[:, 0], []
    for i in range(1, t):
        step = torch.cdist(place[:, i], place[:, i - 1])  # (N, S, K to, K from)
        total, origin = (best[:, :, None] - step / (REACH * frame_stride)).max(-1)
        best = total + worth[:, i]
        came.append(origin)
    score, last = best.max(-1)  # (N, S)
    shape = score.argmax(1)
    rows = torch.arange(n, device=shape.device)
    at = last[rows, shape]
    path = [at]
    for origin in reversed(came):
        at = origin[rows, shape, at]
        path.append(at)
    path = torch.stack(path[::-1], 1)  # (N, T)
    index = (rows[:, None], torch.arange(t, device=shape.device)[None], shape[:, None], path)
    where, own = found.where[index], found.logits[index]
    near = (place - where[:, :, None, None, :2]).norm(dim=-1) < where[:, :, None, None, 2].clamp_min(3)
    near[rows, :, shape] = False
    rival = found.logits.masked_fill(~near, -30.0).flatten(2).amax(2)
    return Tracks(shape, where, torch.maximum(own, rival), own - rival)
