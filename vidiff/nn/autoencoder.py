"""A 3-D autoencoder: clips to latents of a quarter of the sides and of the frames, and back."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import check_frames, initialize
from vidiff.nn.clip_layers import ClipConv
from vidiff.nn.restorer import DepthToSpace, RestorerBlock, SpaceToDepth


class TimeToDepth(nn.Module):
    """(B, C, T, H, W) -> (B, 2 C, T / 2, H, W): two frames become one place."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        return x.reshape(b, c, t // 2, 2, h, w).transpose(2, 3).reshape(b, 2 * c, t // 2, h, w)


class DepthToTime(nn.Module):
    """The inverse of `TimeToDepth`: (B, 2 C, T, H, W) -> (B, C, 2 T, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        return x.reshape(b, c // 2, 2, t, h, w).transpose(2, 3).reshape(b, c // 2, 2 * t, h, w)


def unit(x: Tensor) -> Tensor:
    """Mean square 1 over the channels (B, C, ...) of each place."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)


class Pixels(nn.Module):
    """The autoencoder that does nothing: latents are the clips themselves."""

    def latent_spec(self, spec: ClipSpec) -> ClipSpec:
        return spec

    def encode(self, clip: Tensor) -> Tensor:
        return clip

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class ClipAutoencoder(nn.Module):
    """Clip -> latents (B, c, T / 4, H / 4, W / 4) of mean square 1 at each place -> clip.

    Squares of 2 x 2 pixels become places, then squares of those and pairs of frames, then pairs of frames once more,
    with residual blocks of factorized kernels between; the decoder is the mirror image. Latents lie on a sphere (as
    StyleGAN's z does), in the place of the published Gaussian with its KL term: they have the scale of noise without
    being measured. No norm layers; any number of frames and any sides, what is missing to multiples of 4 is repeated.

    Args:
        spec: sizes.
        width: channels at half the sides, twice as many below; None: the spec's.
        latent_channels: c.
        blocks: residual blocks at each of the two lower levels, of the encoder and of the decoder.
    """

    def __init__(self, spec: ClipSpec, width: int | None = None, latent_channels: int = 16, blocks: int = 2):
        super().__init__()
        check_frames(spec.num_frames)
        self.latent_channels, w, pixels = latent_channels, width or spec.width, 4 * spec.channels
        time = 3 if spec.num_frames > 1 else 1
        self.encoder = nn.Sequential(
            SpaceToDepth(2),
            ClipConv(pixels, w, 3, time=1),
            RestorerBlock(w, time),
            SpaceToDepth(2),
            TimeToDepth(),
            ClipConv(8 * w, 2 * w, 1, time=1),
            *(RestorerBlock(2 * w, time) for _ in range(blocks)),
            TimeToDepth(),
            ClipConv(4 * w, 2 * w, 1, time=1),
            *(RestorerBlock(2 * w, time) for _ in range(blocks)),
            nn.LeakyReLU(0.1),
            ClipConv(2 * w, latent_channels, 3, time=1),
        )
        self.decoder = nn.Sequential(
            ClipConv(latent_channels, 2 * w, 3, time=1),
            *(RestorerBlock(2 * w, time) for _ in range(blocks)),
            ClipConv(2 * w, 4 * w, 1, time=1),
            DepthToTime(),
            *(RestorerBlock(2 * w, time) for _ in range(blocks)),
            ClipConv(2 * w, 8 * w, 1, time=1),
            DepthToTime(),
            DepthToSpace(2),
            RestorerBlock(w, time),
            nn.LeakyReLU(0.1),
            ClipConv(w, pixels, 3, time=1),
            DepthToSpace(2),
        )
        initialize(self, "kaiming")
        with torch.no_grad():
            self.last.mul_(0.1)  # a new network is grey, not saturated
            for m in self.modules():
                if isinstance(m, RestorerBlock):
                    m.layers[-1].space.weight.mul_(0.1)  # deep sums of blocks begin calm
                if isinstance(m, ClipConv) and m.time is not None:
                    nn.init.dirac_(m.time.weight)

    @property
    def last(self) -> nn.Parameter:
        """The weights of the last convolution, where an adaptive weight compares gradients."""
        return self.decoder[-2].space.weight

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(c, t, h, w) of a clip of this size."""
        return (self.latent_channels, *(-(-n // 4) for n in (frames, height, width)))

    def latent_spec(self, spec: ClipSpec) -> ClipSpec:
        """Sizes of the latents of clips of these sizes, as if they were clips."""
        c, t, side, _ = self.latent_shape(spec.num_frames, spec.resolution, spec.resolution)
        return replace(spec, channels=c, num_frames=t, resolution=side)

    def encode(self, clip: Tensor) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> latents (B, c, T / 4, H / 4, W / 4), mean square 1 over c."""
        short = [-n % 4 for n in clip.shape[2:]]
        if any(short):
            t, h, w = short
            clip = F.pad(clip, (0, w, 0, h, 0, t), "replicate")
        return unit(self.encoder(clip))

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, c, t, h, w) -> clip (B, C, 4 t, 4 h, 4 w), about [-1, 1]; they are brought to mean square 1."""
        return self.decoder(unit(latents))

    def forward(self, clip: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) -> what is left of it; `noise` is added to its latents. The label is not used."""
        latents = self.encode(clip)
        if noise is not None:
            latents = latents + noise
        t, h, w = clip.shape[2:]
        return self.decode(latents)[:, :, :t, :h, :w]
