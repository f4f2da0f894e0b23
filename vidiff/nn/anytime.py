"""A clip as a function of time: a generator that draws any frames of it, a discriminator that looks at a few.

Motion codes that are continuous in time and a discriminator of a few frames are StyleGAN-V's (Skorokhodov et al. 2022,
2112.14683) and DIGAN's (Yu et al. 2022, 2202.10571). What an update costs is a matter of the frames that are looked
at, not of the clip's length.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, Conv3d, check_frames, spatial_stages
from vidiff.nn.generators import MAX_MULTIPLIER
from vidiff.nn.r3 import SLOPE, he_init, linear_init


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def conv(c_in: int, c_out: int, gain: float = 1.0) -> nn.Module:
    """3x3 within each frame."""
    return he_init(Conv3d(c_in, c_out, (1, 3, 3), padding=(0, 1, 1)), gain)


def down(c_in: int, c_out: int) -> nn.Module:
    """4x4 within each frame, half the resolution."""
    return he_init(Conv3d(c_in, c_out, (1, 4, 4), (1, 2, 2), (0, 1, 1)))


def layers(inputs: int, dim: int) -> nn.Sequential:
    """Two fully connected layers to a code."""
    leaky = nn.LeakyReLU(SLOPE)
    return nn.Sequential(he_init(nn.Linear(inputs, dim)), leaky, he_init(nn.Linear(dim, dim)), leaky)


def to_grid(clip: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, 4 C, T, H / 2, W / 2): each block of 2x2 pixels becomes channels."""
    return F.pixel_unshuffle(clip.transpose(1, 2), 2).transpose(1, 2)


def to_pixels(grid: Tensor) -> Tensor:
    """The inverse of `to_grid`."""
    return F.pixel_shuffle(grid.transpose(1, 2), 2).transpose(1, 2)


def _channels(width: int, side: int) -> list[int]:
    """Channels of the grids, from 4x4 to half the side."""
    return [width * min(2**i, MAX_MULTIPLIER) for i in reversed(range(spatial_stages(side)))]


def even_times(num_frames: int, count: int, like: Tensor) -> Tensor:
    """`count` of so many frame numbers, first and last included, (B, count) for each of `like` (B, ...)."""
    times = torch.linspace(0, num_frames - 1, count, device=like.device).round()
    return times.to(like.dtype).expand(len(like), -1)


class MotionCode(nn.Module):
    """Waves whose speed, phase and strength are functions of the clip: a path that is smooth in time and never ends.

    v(t)_i = a_i (sin, cos)(w_i e^(f_i) t + pi p_i), with a, f, p linear in the clip's code and f within +-0.35. The
    periods 2 pi / w_i at rest lie between three quarters of a clip and two and a half clips.

    Args:
        dim: length of the clip's code.
        waves: K.
        num_frames: frames of a clip in training.
    """

    def __init__(self, dim: int, waves: int, num_frames: int):
        super().__init__()
        longest, shortest = math.log(2.5 * max(num_frames, 2)), math.log(max(0.75 * num_frames, 2.5))
        self.register_buffer("speed", 2 * math.pi / torch.linspace(longest, shortest, waves).exp())
        self.waves = linear_init(nn.Linear(dim, 3 * waves))

    def forward(self, code: Tensor, times: Tensor) -> Tensor:
        """code (B, D), times (B, T) in frames -> (B, T, 2 K)."""
        faster, phase, strength = self.waves(code)[:, None].chunk(3, dim=2)  # each (B, 1, K)
        angle = self.speed * torch.exp(0.35 * torch.tanh(faster)) * times[..., None] + math.pi * phase  # (B, T, K)
        return torch.cat([strength * angle.sin(), strength * angle.cos()], dim=2)


class CodedNorm(nn.Module):
    """BatchNorm whose scale and offset are linear in a code of each frame (de Vries et al. 2017, 1707.00683)."""

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.norm = nn.BatchNorm3d(channels, affine=False)
        self.affine = nn.Linear(dim, 2 * channels)
        nn.init.normal_(self.affine.weight, 0.0, 0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x (B, C, T, H, W), code (B, T, D)."""
        scale, offset = self.affine(code).transpose(1, 2)[..., None, None].chunk(2, dim=1)  # each (B, C, T, 1, 1)
        return self.norm(x) * (1.0 + scale) + offset


class Grid(nn.Module):
    """From one grid to the next: double the sides where `up`, then a residual 3x3 convolution."""

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, c_in: int, c_out: int, dim: int, up: bool):
        super().__init__()
        self.enter = nn.ModuleList([CodedNorm(c_in, dim), conv(c_in, c_out)]) if up else None
        self.norm, self.conv = CodedNorm(c_out, dim), conv(c_out, c_out, 0.5)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        if self.enter is not None:
            norm, conv = self.enter
            x = conv(F.interpolate(act(norm(x, code)), scale_factor=(1, 2, 2)))
        return x + self.conv(act(self.norm(x, code)))


class Painter(nn.Module):
    """Codes -> pictures, from 4x4 up; BatchNorm's scale comes from a code.

    Grids are enlarged by nearest neighbor and a convolution, the last one by sub-pixel convolution that begins as
    nearest neighbor (Aitken et al. 2017, 1707.02937), so there is no grid of transposed convolutions.

    Args:
        width: channels at half of `side`.
        dim: length of the codes.
        channels: of a picture.
        side: its height.
        gain: of the last layer's initial weights.
        aspect: its width over its height.
    """

    def __init__(self, width: int, dim: int, channels: int, side: int, gain: float = 0.5, aspect: int = 1):
        super().__init__()
        grids, self.aspect = _channels(width, side), aspect
        self.start = he_init(nn.Linear(dim, grids[0] * 16 * aspect))
        self.grids = nn.ModuleList(Grid(a, b, dim, up=i > 0) for i, (a, b) in enumerate(zip([grids[0], *grids], grids)))
        self.norm, self.last = CodedNorm(grids[-1], dim), conv(grids[-1], 4 * channels, gain)
        with torch.no_grad():  # the four pixels of a block begin equal
            self.last.weight.copy_(self.last.weight[::4].repeat_interleave(4, 0))

    def forward(self, start: Tensor, code: Tensor) -> Tensor:
        """start (B, T, D), what enters at 4x4; code (B, T or 1, D) of the scales -> (B, channels, T, H, W)."""
        x = self.start(start).unflatten(2, (-1, 4, 4 * self.aspect)).transpose(1, 2)  # (B, T, C h w) -> (B, C, T, h, w)
        for grid in self.grids:
            x = grid(x, code)
        return to_pixels(self.last(act(self.norm(x, code))))


def latent_code(z: Tensor, embed: ClassEmbedding | None, label: Tensor | None) -> Tensor:
    """z (B, Z) of unit mean square, an embedded label beside it: (B, Z) or (B, 2 Z)."""
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-6)
    return z if embed is None else torch.cat([z, embed(label).to(z.dtype)], dim=1)


class AnytimeGenerator(nn.Module):
    """z -> a code of the clip; with the motion code of a time, a code of that frame -> the frame, drawn by itself.

    Nothing but the code ties the frames together, and the code is smooth in time.

    Args:
        spec: sizes; `width` is the number of channels at half the resolution.
        dim: length of the codes.
        waves: of the motion code, see `MotionCode`.
    """

    def __init__(self, spec: ClipSpec, dim: int = 128, waves: int = 16):
        super().__init__()
        check_frames(spec.num_frames)
        self.spec = spec
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        self.content = layers(spec.latent_dim * (2 if self.embed else 1), dim)
        self.motion = MotionCode(dim, waves, spec.num_frames)
        self.frame = layers(dim + 2 * waves, dim)
        self.painter = Painter(spec.width, dim, spec.channels, spec.resolution, 0.3, spec.aspect)

    def forward(self, z: Tensor, label: Tensor | None = None, times: Tensor | None = None) -> Tensor:
        """Frames of clips.

        Args:
            z: (B, Z).
            label: (B,) or None.
            times: (B, T) in frames, any real numbers; None: 0 .. num_frames - 1.

        Returns:
            (B, C, T, H, W) in [-1, 1].
        """
        if times is None:
            times = even_times(self.spec.num_frames, self.spec.num_frames, z)
        content = self.content(latent_code(z, self.embed, label))
        motion = self.motion(content, times.to(z.dtype))
        content = content[:, None]  # (B, D) -> (B, 1, D): what is drawn; where, comes in at 4x4
        code = self.frame(torch.cat([content.expand(-1, motion.shape[1], -1), motion], dim=2))  # (B, T, D)
        return torch.tanh(self.painter(code, content))


class AnytimeDiscriminator(nn.Module):
    """A few frames and the gaps between them -> logit: each frame by itself, and all of them together from 8x8 on.

    Args:
        spec: sizes; `width` is the number of channels at half the resolution.
        frames: how many frames it looks at.
    """

    def __init__(self, spec: ClipSpec, frames: int = 3):
        super().__init__()
        if frames < 1:
            raise ValueError(f"frames must be at least 1, got {frames}")
        self.spec, self.frames = spec, min(frames, spec.num_frames)
        channels = [
            4 * spec.channels,
            *_channels(spec.width, spec.resolution)[::-1],
        ]  # of the grids, from half the resolution to 4x4
        top = channels[-1]
        body = [conv(channels[0], channels[1]), *map(down, channels[1:-2], channels[2:-1])]
        self.body = nn.ModuleList(body)  # down to 8x8, or 4x4 where there is nothing finer
        at_four = len(channels) == 2
        joined = channels[1] if at_four else channels[-2]
        last = conv if at_four else down
        self.alone = last(joined, top)
        gaps = self.frames - 1
        self.gaps = nn.Linear(gaps, 8 * gaps) if gaps else None
        if gaps:
            self.together = nn.ModuleList([conv((joined * self.frames) + 8 * gaps, top), last(top, top)])
        self.join = conv(top * (2 if gaps else 1), top)
        seen = top * 16 * spec.aspect
        self.head = nn.Linear(seen, 1)
        self.embed = ClassEmbedding(spec.num_classes, seen) if spec.num_classes else None

    def forward(self, clip: Tensor, label: Tensor | None = None, times: Tensor | None = None) -> Tensor:
        """Logits of clips.

        Args:
            clip: (B, C, T, H, W) in [-1, 1]: `frames` frames, or whole clips without `times`.
            label: (B,) or None.
            times: (B, frames), increasing, in frames; None: some of a whole clip, evenly.

        Returns:
            (B,)
        """
        if times is None:
            times = even_times(clip.shape[2], self.frames, clip)
            clip = clip[:, :, times[0].long()]
        x = to_grid(clip)
        for layer in self.body:
            x = act(layer(x))
        features = [act(self.alone(x)).mean(2)]  # (B, D, T, 4, 4) -> (B, D, 4, 4)
        if self.gaps is not None:
            gaps = act(self.gaps(times.to(x.dtype).diff(dim=1) / 4.0 - 1.0))[:, :, None, None]  # (B, 8 (T - 1), 1, 1)
            y = torch.cat([x.flatten(1, 2), gaps.expand(-1, -1, *x.shape[3:])], dim=1)  # (B, D T + 8 (T - 1), h, w)
            for layer in self.together:
                y = act(layer(y[:, :, None])[:, :, 0])  # one frame to the convolutions
            features.append(y)
        x = act(self.join(torch.cat(features, dim=1)[:, :, None])).flatten(1)
        logits = self.head(x).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(label) * x).sum(1) * x.shape[1] ** -0.5
        return logits
