"""The features of `clip_distance`: statistics of a clip's pictures, of their changes, of their path through time."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.metrics.features import Extractor

STRIDES = (1, 4)  # frames between which changes are looked at
REACHES = (2, 4, 8)  # frames between which the lengths of longer steps are
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the lengths of the steps of a clip
STEP = 0.01  # the shortest step that counts, of a path whose real steps are about 0.1 to 1
SPREAD = 0.02  # the smallest standard deviation of a feature that is counted as one
CHANNELS = (3, 8, 16)


class ClipStatistics(Extractor):
    """What `clip_distance` compares: four blocks of statistics of a clip, none of them learned.

    Frames go through two fixed random convolutions (3 x 3, stride 2, LeakyReLU 0.2, replicate padding, He-scaled
    normals of PCG64), x = (grey level / 255 - 0.5) / 0.25; "maps" are the frames and both layers.

    - pictures: mean and standard deviation of each channel of the maps over space and time.
    - changes: log standard deviation of each channel of the maps of the differences x_(t+s) - x_t, s = 1 and 4.
    - path: of frames, of frames averaged over 4 x 4 pixels and of the second layer as points of a path: minimum,
      quartiles and maximum of the log length of its steps, how much longer those over 2, 4 and 8 frames are, and the
      mean cosine between a step and the next (1 straight on, -0.5 independent frames).
    - direction: what changes its sign when a clip is played backward: drift across and down (least squares of
      dx/dt = -v dx/ds), the skewness of dx/dt, and whether steps grow along the clip; at 2 scales.

    `clip_distance` is the sum over the blocks of `vidiff.metrics.frechet.block_distances`.

    Clips of fewer than 3 frames are continued with their last one, so that of stills the pictures alone count.
    """

    name = "clip_statistics"
    min_size = 16
    blocks: dict[str, slice]

    def __init__(self):
        super().__init__()
        rng = np.random.Generator(np.random.PCG64(0))
        digest = hashlib.sha256(b"clip_statistics v1")
        for i, (fan_in, fan_out) in enumerate(zip(CHANNELS, CHANNELS[1:])):
            weight = (rng.standard_normal((fan_out, fan_in, 3, 3)) * math.sqrt(2 / (9 * fan_in))).astype(np.float32)
            digest.update(weight.tobytes())
            self.register_buffer(f"weight{i}", torch.from_numpy(weight))
        self.sha256 = digest.hexdigest()
        widths = {
            "pictures": 2 * sum(CHANNELS),
            "changes": len(STRIDES) * sum(CHANNELS),
            "path": 3 * (len(QUANTILES) + len(REACHES) + 1),
            "direction": 2 * 4,
        }
        ends = np.cumsum(list(widths.values())).tolist()
        self.blocks = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends)}
        self.dim = ends[-1]
        self.eval()

    def features(self, clips: Tensor) -> Tensor:
        if clips.shape[2] < 3:
            clips = torch.cat([clips, clips[:, :, -1:].expand(-1, -1, 3 - clips.shape[2], -1, -1)], 2)
        x = ((clips.float() / 255 - 0.5) / 0.25).transpose(1, 2)  # (B, T, 3, H, W)
        maps = self._maps(x)
        pictures = [m.mean((1, 3, 4)) for m in maps] + [m.std((1, 3, 4), correction=0) for m in maps]
        changes = [
            (m.std((1, 3, 4), correction=0) + STEP).log()
            for stride in STRIDES
            for m in self._maps(x[:, min(stride, x.shape[1] - 1) :] - x[:, : -min(stride, x.shape[1] - 1)])
        ]
        small = F.avg_pool3d(x, (1, 4, 4))  # (B, T, 3, H / 4, W / 4)
        paths = [_path(points.flatten(2)) for points in (x, small, maps[-1])]
        directions = [_direction(F.avg_pool3d(x, (1, 2, 2))), _direction(small)]
        return torch.cat([*pictures, *changes, *paths, *directions], 1)

    @property
    def widest(self) -> int:
        return max(at.stop - at.start for at in self.blocks.values())

    def _maps(self, x: Tensor) -> list[Tensor]:
        """Frames (B, T, 3, H, W) and what the layers make of them, each (B, T, C, h, w)."""
        b, t = x.shape[:2]
        flat, out = x.reshape(b * t, *x.shape[2:]), [x]
        for i in range(len(CHANNELS) - 1):
            flat = F.pad(flat, (1, 1, 1, 1), mode="replicate")
            flat = F.leaky_relu(F.conv2d(flat, getattr(self, f"weight{i}"), stride=2), 0.2)
            out.append(flat.reshape(b, t, *flat.shape[1:]))
        return out


def _path(points: Tensor) -> Tensor:
    """Steps and turns of paths (B, T, D) -> (B, 9); lengths are root mean squares over D."""
    t = points.shape[1]
    steps = points.diff(dim=1)  # (B, T - 1, D)
    lengths = _length(steps)
    ordered = lengths.sort(1)[0]
    quantiles = [ordered[:, round(q * (t - 2))] for q in QUANTILES]
    reaches = [_length(points[:, min(r, t - 1) :] - points[:, : -min(r, t - 1)]).mean(1) for r in REACHES]
    longer = [far - near for near, far in zip([lengths.mean(1), *reaches], reaches)]
    square = steps.square().mean(2) + STEP**2
    turns = (steps[:, 1:] * steps[:, :-1]).mean(2) / (square[:, 1:] * square[:, :-1]).sqrt()
    return torch.stack([*quantiles, *longer, turns.mean(1)], 1)


def _length(steps: Tensor) -> Tensor:
    return 0.5 * (steps.square().mean(2) + STEP**2).log()


def _direction(x: Tensor) -> Tensor:
    """Odd statistics of time of frames (B, T, C, H, W) -> (B, 4)."""
    change, middle = x.diff(dim=1), (x[:, 1:] + x[:, :-1]) / 2
    across, down = middle[..., 2:] - middle[..., :-2], middle[..., 2:, :] - middle[..., :-2, :]
    over = (2, 3, 4)
    drifts = [
        -((part * slope).mean(over) / (part.square().mean(over) * slope.square().mean(over) + STEP**2).sqrt()).mean(1)
        for part, slope in ((change[..., 1:-1], across), (change[..., 1:-1, :], down))
    ]
    skew = change.pow(3).mean((1, *over)) / (change.square().mean((1, *over)) + STEP**2).pow(1.5)
    lengths = _length(change.flatten(2))
    grows = (lengths * torch.linspace(-1, 1, lengths.shape[1], device=x.device)).mean(1)
    # Bounded: a clip that stops in its middle is no farther away than one that never moves.
    return torch.stack([*drifts, skew.clamp(-8, 8) / 8, grows.clamp(-0.3, 0.3)], 1)
