"""Time warps: every frame of the result is read at a source time of its own clip (slow, fast, skip, curve, reverse)."""

from __future__ import annotations

import math

import torch
from kornia.augmentation import GeometricAugmentationBase3D
from torch import Tensor

from vidiff.errors import UsageError


def sample_time(clip: Tensor, time: Tensor, mode: str = "linear") -> Tensor:
    """Read clips at given times: frame k of the result is `clip[:, :, time[k]]`.

    `linear` mixes the two nearest frames, `x[floor t] + frac(t) (x[floor t + 1] - x[floor t])`; whole-numbered times
    are exact in both modes. Gathers whole frames and mixes, so it is differentiable to any order in `clip` and has a
    deterministic backward on CUDA.

    Args:
        clip: float (B, C, T, H, W).
        time: float (B, T_out), source times in frames, in [0, T - 1].
        mode: `linear` or `nearest`.
    Returns:
        (B, C, T_out, H, W), in the clip's dtype.
    """
    b, c, t, h, w = clip.shape
    # One row per frame of each channel: (B*C*T, H*W); row numbers (B, C, T_out).
    rows = clip.reshape(b * c * t, h * w)
    first = torch.arange(b * c, device=clip.device).view(b, c, 1) * t

    def frames(k: Tensor) -> Tensor:
        index = (first + k.to(clip.device)[:, None]).flatten()
        return rows.index_select(0, index).view(b, c, -1, h, w)

    if mode == "nearest":
        return frames((time + 0.5).floor().long().clamp(0, t - 1))
    low = time.floor().long().clamp(0, t - 1)
    part = (time - low).to(clip)
    return torch.lerp(frames(low), frames((low + 1).clamp(max=t - 1)), part[:, None, :, None, None])


def fold(time: Tensor, frames: int, ends: str) -> Tensor:
    """Bring times past the last frame back: `hold` repeats the last frame, `reflect` plays backwards from there."""
    last = frames - 1
    if ends == "hold" or last == 0:
        return time.clamp(0, last)
    time = time.abs() % (2 * last)
    return torch.minimum(time, 2 * last - time)


class TimeMap(GeometricAugmentationBase3D):
    """Base of the time warps: a Kornia 3D augmentation (depth = time) with one time map per clip.

    Subclasses give `times(n, frames)`. They mix freely with Kornia's operators in an `Augment` list and with Kornia's
    other 3D ones in its `AugmentationSequential`.

    Args:
        p: probability per clip.
        mode: `linear` or `nearest` frame interpolation.
    """

    def __init__(self, p: float = 0.5, mode: str = "linear") -> None:
        super().__init__(p=p)
        if mode not in ("linear", "nearest"):
            raise UsageError(f"{type(self).__name__}: mode {mode!r}; accepted: linear, nearest")
        self.flags = {"mode": mode}

    def times(self, n: int, frames: int) -> Tensor:
        """Draw `n` maps (n, frames) of source times in [0, frames - 1] from torch's CPU generator."""
        raise NotImplementedError

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        return {"time": self.times(batch_shape[0], batch_shape[2])}

    def compute_transformation(self, input: Tensor, params: dict, flags: dict) -> Tensor:
        return self.identity_matrix(input)  # space stays where it is; a time map is not a matrix

    def apply_transform(self, input: Tensor, params: dict, flags: dict, transform: Tensor | None = None) -> Tensor:
        return sample_time(input, params["time"], flags["mode"])


def _range(op: object, name: str, value: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    pair = tuple(value)
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise UsageError(f"{type(op).__name__}: {name} {value}; accepted: a pair {low} <= low <= high <= {high}")
    return pair


def _uniform(n: int, bounds: tuple[float, float]) -> Tensor:
    return torch.empty(n, 1).uniform_(*bounds)


class SlowMotion(TimeMap):
    """Play a random part of the clip slowly: `t_k = start + speed k`.

    Args:
        speed: range of the speed, within [0, 1]; 0.5 shows half of the clip in as many frames.
        p, mode: see `TimeMap`.
    """

    def __init__(self, speed: tuple[float, float] = (0.5, 1.0), p: float = 0.5, mode: str = "linear") -> None:
        super().__init__(p, mode)
        self.flags["speed"] = _range(self, "speed", speed, 0.0, 1.0)

    def times(self, n: int, frames: int) -> Tensor:
        speed = _uniform(n, self.flags["speed"])
        start = torch.rand(n, 1) * (frames - 1) * (1 - speed)
        return (start + speed * torch.arange(frames)).clamp(0, frames - 1)


class FastMotion(TimeMap):
    """Play the clip fast: `t_k = speed k`. A clip has no frames after its last one, so `ends` says what follows.

    For fast motion without such an end load the clips with a larger `frame_stride`, and slow some of them down.

    Args:
        speed: range of the speed, at least 1.
        ends: `reflect` (play backwards from the last frame) or `hold` (stand still there, the map stays monotone).
        p, mode: see `TimeMap`.
    """

    def __init__(
        self,
        speed: tuple[float, float] = (1.0, 2.0),
        ends: str = "reflect",
        p: float = 0.5,
        mode: str = "linear",
    ) -> None:
        super().__init__(p, mode)
        if ends not in ("reflect", "hold"):
            raise UsageError(f"{type(self).__name__}: ends {ends!r}; accepted: reflect, hold")
        self.flags["speed"] = _range(self, "speed", speed, 1.0, math.inf)
        self.flags["ends"] = ends

    def times(self, n: int, frames: int) -> Tensor:
        return fold(_uniform(n, self.flags["speed"]) * torch.arange(frames), frames, self.flags["ends"])


class FrameSkip(FastMotion):
    """Show every n-th frame only: `t_k = step k` with a whole-numbered step, so no frame is mixed.

    Args:
        step: range of the step in frames, both ends included.
        ends, p: see `FastMotion`.
    """

    def __init__(self, step: tuple[int, int] = (2, 3), ends: str = "reflect", p: float = 0.5) -> None:
        super().__init__(step, ends, p, "nearest")
        self.flags["step"] = tuple(int(s) for s in self.flags.pop("speed"))

    def times(self, n: int, frames: int) -> Tensor:
        low, high = self.flags["step"]
        step = torch.randint(low, high + 1, (n, 1))
        return fold(step * torch.arange(frames), frames, self.flags["ends"]).float()


class SpeedCurve(TimeMap):
    """Speed the clip up here and slow it down there, from its first frame to its last, on a smooth monotone curve.

    `log2 v(u) = octaves * sum_j a_j cos(pi j u) / sum_j |a_j|`, j = 1..3, a_j uniform in [-1, 1], u in [0, 1];
    `t_k = (T - 1) * int_0^{u_k} v / int_0^1 v`.

    Args:
        octaves: range of the strength in octaves, at least 0: at 1 speeds lie between half and double of each other's
            mean on a log scale; 0 is the identity.
        p, mode: see `TimeMap`.
    """

    def __init__(
        self,
        octaves: tuple[float, float] = (0.0, 1.0),
        p: float = 0.5,
        mode: str = "linear",
    ) -> None:
        super().__init__(p, mode)
        self.flags["octaves"] = _range(self, "octaves", octaves, 0.0, math.inf)

    def times(self, n: int, frames: int) -> Tensor:
        modes = torch.arange(1, 4)
        weights = torch.empty(n, 3).uniform_(-1, 1)
        weights = weights / weights.abs().sum(1, keepdim=True).clamp(min=1e-6)
        octaves = _uniform(n, self.flags["octaves"])
        if frames == 1:
            return torch.zeros(n, 1)
        middle = (torch.arange(frames - 1) + 0.5) / (frames - 1)  # speed is taken half-way between two frames
        speed = torch.exp2(octaves * (weights @ torch.cos(math.pi * modes[:, None] * middle)))  # (n, frames - 1)
        way = torch.cat([torch.zeros(n, 1, dtype=torch.float64), speed.double().cumsum(1)], 1)
        return (way / way[:, -1:] * (frames - 1)).float()


class Reversal(TimeMap):
    """Play the clip backwards: `t_k = T - 1 - k`.

    Args:
        p: probability per clip.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p, "nearest")

    def times(self, n: int, frames: int) -> Tensor:
        return torch.arange(frames).flip(0).float().expand(n, frames)
