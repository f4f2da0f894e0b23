"""What happens to videos, as operators on clips: what a restoration learns to undo.

y = q(D_n(... D_1(x))), x a clip in [0, 1], D_i one of the operators below, q clamping and rounding to 8 bits, as files
hold them. Every clip has numbers of its own, a function of its key alone: not of the batch, the process or what was
drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import kornia.enhance
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError

Range = tuple[float, float]


class Degradation(nn.Module):
    """One kind of damage, done to a clip with probability `p`; a subclass defines `damage`.

    Args:
        p: probability per clip, in [0, 1].

    Raises:
        UsageError: a number outside of its range.
    """

    def __init__(self, p: float = 1.0):
        super().__init__()
        self._check(p=(p, p), most=1.0)
        self.p = p

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        """float (C, T, H, W) in [0, 1] -> the same, damaged; `draw` is on the CPU."""
        raise NotImplementedError

    def forward(self, clip: Tensor, draw: Generator) -> Tensor:
        """float (C, T, H, W) -> the same shape; random numbers come from `draw` alone."""
        return self.damage(clip, draw) if float(torch.rand((), generator=draw)) < self.p else clip

    def _check(self, least: float = 0.0, most: float = math.inf, **ranges: Sequence[float]) -> None:
        for name, given in ranges.items():
            if len(given) != 2 or not least <= given[0] <= given[1] <= most:
                shown = f"{given[0]:g}" if name == "p" else f"{list(given)}"
                wanted = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
                what = "must be a number" if name == "p" else "must be two rising numbers"
                raise UsageError(f"{type(self).__name__}.{name} {what} {wanted}, got {shown}")


def _between(draw: Generator, range: Sequence[float]) -> float:
    return range[0] + (range[1] - range[0]) * float(torch.rand((), generator=draw))


def _whole(draw: Generator, range: Sequence[float]) -> int:
    return int(torch.randint(int(range[0]), int(range[1]) + 1, (), generator=draw))


def _on_device(clip: Tensor, draw: Generator) -> Generator:
    """A generator where the clip is, for as many numbers as it has pixels."""
    return torch.Generator(clip.device).manual_seed(int(torch.randint(2**62, (), generator=draw)))


class GaussianNoise(Degradation):
    """y = x + s n / 255, n standard normal for each value: the noise of a sensor's electronics.

    Args:
        sigma: least and largest s, in steps of 8 bits.
        p: see `Degradation`.
    """

    def __init__(self, sigma: Range = (25.0, 25.0), p: float = 1.0):
        super().__init__(p)
        self._check(sigma=sigma)
        self.sigma = sigma

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        sigma = _between(draw, self.sigma) / 255
        return clip + sigma * torch.randn(clip.shape, generator=_on_device(clip, draw), device=clip.device)


class PoissonNoise(Degradation):
    """y = Poisson(k x) / k: the noise of few photons, stronger where it is bright.

    Args:
        photons: least and largest k, photons of the brightest value; log-uniform.
        p: see `Degradation`.
    """

    def __init__(self, photons: Range = (10.0, 60.0), p: float = 1.0):
        super().__init__(p)
        self._check(1.0, photons=photons)
        self.photons = photons

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        k = math.exp(_between(draw, [math.log(v) for v in self.photons]))
        return torch.poisson(k * clip.clamp(0, 1), generator=_on_device(clip, draw)) / k


class Blur(Degradation):
    """Convolution with a Gaussian in space, the same for all frames: out of focus.

    Args:
        sigma: least and largest standard deviation, in pixels.
        p: see `Degradation`.
    """

    def __init__(self, sigma: Range = (0.6, 1.6), p: float = 1.0):
        super().__init__(p)
        self._check(0.05, sigma=sigma)
        self.sigma = sigma

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        sigma = _between(draw, self.sigma)
        reach = math.ceil(3 * sigma)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=clip.device) / sigma).square())
        kernel = (kernel / kernel.sum()).to(clip.dtype)
        x = F.pad(clip.flatten(0, 1).unsqueeze(1), (reach,) * 4, "replicate")  # (C*T, 1, H', W')
        return F.conv2d(F.conv2d(x, kernel[None, None, :, None]), kernel[None, None, None, :])[:, 0].view_as(clip)


class Jpeg(Degradation):
    """Every frame as a JPEG of low quality: blocks of 8 x 8 and ringing.

    Args:
        quality: least and largest quality, 1 to 100.
        p: see `Degradation`.
    """

    def __init__(self, quality: Range = (10, 40), p: float = 1.0):
        super().__init__(p)
        self._check(1.0, 100.0, quality=quality)
        self.quality = quality

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        quality = clip.new_tensor([_between(draw, self.quality)])
        frames = clip.transpose(0, 1).clamp(0, 1)  # (C, T, H, W) -> (T, C, H, W)
        coded = kornia.enhance.jpeg_codec_differentiable(frames.expand(-1, 3, -1, -1), quality)
        return coded.mean(1, keepdim=True).transpose(0, 1) if len(clip) == 1 else coded.transpose(0, 1)


class Scratches(Degradation):
    """Bright or dark lines down the frame that tremble from frame to frame and are gone in some: worn film.

    Args:
        count: least and largest number of lines in a clip.
        width: least and largest width, in pixels.
        shown: share of the frames that a line is in.
        p: see `Degradation`.
    """

    def __init__(self, count: Range = (1, 3), width: Range = (1.0, 2.0), shown: float = 0.7, p: float = 1.0):
        super().__init__(p)
        self._check(1.0, count=count, width=width)
        self._check(most=1.0, shown=(shown, shown))
        self.count, self.width, self.shown = count, width, shown

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        frames, columns = clip.shape[1], torch.arange(clip.shape[3])
        for _ in range(_whole(draw, self.count)):
            place = _between(draw, (0, clip.shape[3])) + torch.randn(frames, generator=draw)  # (T,)
            tone, width = 0.9 * (_between(draw, (0, 1)) < 0.5) + 0.05, _between(draw, self.width)
            seen = torch.rand(frames, generator=draw) < self.shown
            line = ((columns - place[:, None]).abs() <= width / 2) & seen[:, None]  # (T, W)
            clip = torch.where(line.to(clip.device)[None, :, None], clip.new_tensor(tone), clip)
        return clip


class MissingBlocks(Degradation):
    """Rectangles of the frame are lost for a few frames, then others: what inpainting fills.

    Args:
        count: least and largest number of rectangles at a time.
        size: least and largest side, as shares of the frame's.
        frames: least and largest number of frames that they stay.
        fill: what is there instead, in [0, 1].
        p: see `Degradation`.
    """

    def __init__(
        self,
        count: Range = (1, 2),
        size: Range = (0.2, 0.35),
        frames: Range = (1, 3),
        fill: float = 0.0,
        p: float = 1.0,
    ):
        super().__init__(p)
        self._check(1.0, count=count, frames=frames)
        self._check(most=1.0, size=size, fill=(fill, fill))
        self.count, self.size, self.frames, self.fill = count, size, frames, fill

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        lost, start = torch.zeros(clip.shape[1:], dtype=torch.bool), 0
        while start < clip.shape[1]:
            stop = start + _whole(draw, self.frames)
            for _ in range(_whole(draw, self.count)):
                sides = [max(1, round(_between(draw, self.size) * s)) for s in clip.shape[2:]]
                top, left = (_whole(draw, (0, s - side)) for s, side in zip(clip.shape[2:], sides))
                lost[start:stop, top : top + sides[0], left : left + sides[1]] = True
            start = stop
        return torch.where(lost.to(clip.device), clip.new_tensor(self.fill), clip)


class LowResolution(Degradation):
    """1 / factor of the size (bicubic, antialiased), and back by bicubic interpolation: what super-resolution undoes.

    Args:
        factor: how many times smaller each side is, 2 or more.
        p: see `Degradation`.
    """

    def __init__(self, factor: int = 2, p: float = 1.0):
        super().__init__(p)
        self._check(2.0, factor=(factor, factor))
        self.factor = int(factor)

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        h, w = clip.shape[2:]
        small = [-(-h // self.factor), -(-w // self.factor)]
        frames = clip.transpose(0, 1)  # (C, T, H, W) -> (T, C, H, W)
        frames = to_8_bits(F.interpolate(frames, small, mode="bicubic", antialias=True))
        return F.interpolate(frames, [h, w], mode="bicubic").transpose(0, 1)


class DroppedFrames(Degradation):
    """Frames that never came: the one before stands still in their place.

    Args:
        share: least and largest share of the frames.
        p: see `Degradation`.
    """

    def __init__(self, share: Range = (0.1, 0.3), p: float = 1.0):
        super().__init__(p)
        self._check(most=1.0, share=share)
        self.share = share

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        share, frames = _between(draw, self.share), torch.arange(clip.shape[1])
        there = torch.rand(clip.shape[1], generator=draw) >= share
        newest = torch.where(there, frames, 0).cummax(0).values
        return clip[:, newest.to(clip.device)]


class OneOf(Degradation):
    """One of several degradations, each as likely as the others: one model for all of them.

    Args:
        degradations: what may happen.
        p: see `Degradation`.
    """

    def __init__(self, degradations: list[Degradation], p: float = 1.0):
        super().__init__(p)
        self.degradations = nn.ModuleList(check_degradations(degradations, "OneOf.degradations"))

    def damage(self, clip: Tensor, draw: Generator) -> Tensor:
        return self.degradations[_whole(draw, (0, len(self.degradations) - 1))](clip, draw)


def check_degradations(given: Iterable[nn.Module], name: str) -> list[Degradation]:
    """The operators as a list.

    Raises:
        UsageError: there are none, or something else is among them.
    """
    operators = list(given)
    for op in operators:
        if not isinstance(op, Degradation):
            raise UsageError(f"{name}: {type(op).__name__} is no degradation, see vidiff.augment.degrade")
    if not operators:
        raise UsageError(f"{name} is empty: name what happens to the clips, such as GaussianNoise")
    return operators


def to_8_bits(clip: Tensor) -> Tensor:
    """Values in [0, 1] as 8 bits can hold them, still as floats."""
    return (clip.clamp(0, 1) * 255).round() / 255


@torch.no_grad()
def degrade(clips: Tensor, operators: Iterable[Degradation], slots: Sequence[int], *key: int | str) -> Tensor:
    """Damaged clips; row i is a function of its clip, `key` and `slots[i]`.

    Args:
        clips: float (B, C, T, H, W) in [0, 1].
        operators: what happens to each, in order.
        slots: the number of each clip, (B,).
        key: what tells these draws from others, such as (seed, "degrade").
    Returns:
        float32, the same shape, values of 8 bits.
    """
    out = []
    for clip, slot in zip(clips.float(), slots, strict=True):
        draw = keyed.generator(*key, int(slot))
        for op in operators:
            clip = op(clip, draw)
        out.append(clip)
    return to_8_bits(torch.stack(out))
