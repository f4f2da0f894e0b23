"""Networks that make a clip period by period: key frames first, then the frames between them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, initialize, spatial_stages
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import MAX_MULTIPLIER, ConvGenerator


def periods_of(spec: ClipSpec, period: int) -> list[int]:
    """P, P/2, ..., 1.

    Raises:
        ValueError: `period` is not a power of two, or a clip is not made of at least two whole periods.
    """
    if period < 1 or period & (period - 1):
        raise ValueError(f"period must be a power of two, got {period}")
    if spec.num_frames % period or spec.num_frames // period < 2:
        raise ValueError(f"period={period} must divide num_frames={spec.num_frames} at least twice")
    return [period >> i for i in range(period.bit_length())]


def interleave(frames: Tensor, between: Tensor) -> Tensor:
    """(B, C, K, H, W) twice -> (B, C, 2K, H, W): `frames` at even places, `between` at odd ones."""
    return torch.stack([frames, between], dim=3).flatten(2, 3)  # (B, C, K, 2, H, W) -> (B, C, 2K, H, W)


class KeyGenerator(nn.Module):
    """z -> key frames; where a frame is given, a continuation of it, with that frame as the first.

    A continuation is m * f + (1 - m) * (the given frame), so that nothing has to pass through the memory's bottleneck
    for it to join on; without a frame the mask is not used.

    Args:
        spec: sizes; `num_frames` is the number of key frames.
    """

    def __init__(self, spec: ClipSpec):
        super().__init__()
        stages = spatial_stages(spec.resolution)
        channels = [spec.channels] + [spec.width * min(2**i, MAX_MULTIPLIER) for i in range(stages)]
        layers: list[nn.Module] = []
        for a, b in zip(channels, channels[1:]):
            layers += [nn.Conv3d(a, b, (1, 4, 4), (1, 2, 2), (0, 1, 1)), nn.LeakyReLU(0.2)]
        self.memory = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * 16 * spec.aspect, spec.latent_dim))
        initialize(self.memory, "kaiming")
        # Beside z: what is remembered of the given frame, and whether there is one.
        # One channel more than a picture has: the mask.
        self.frames = ConvGenerator(replace(spec, latent_dim=2 * spec.latent_dim + 1, channels=spec.channels + 1))

    def forward(self, z: Tensor, label: Tensor | None, given: Tensor | None, has: Tensor | None) -> Tensor:
        """z (B, Z), label (B,) or None, given (B, C, 1, H, W) and has (B,) bool, or None -> (B, C, K, H, W)."""
        if given is None:
            return self.frames(torch.cat([z, torch.zeros_like(z), torch.zeros_like(z[:, :1])], dim=1), label)[:, :-1]
        flag = has.to(z.dtype)[:, None]
        out = self.frames(torch.cat([z, flag * self.memory(given), flag], dim=1), label)
        frames, mask = out[:, :-1], 0.5 * (1.0 + out[:, -1:])
        continued = torch.cat([given, (mask * frames + (1.0 - mask) * given)[:, :, 1:]], dim=2)
        return torch.where(has[:, None, None, None, None], continued, frames)


class BetweenGenerator(nn.Module):
    """Frames of one period -> the frames half a period later.

    A U-Net on each pair of neighbours with kernels of 3 over time; m * f + (1 - m) * (mean of the neighbours), so that
    it starts near linear interpolation. After the last frame there is no right neighbour: the last one stands in.

    Args:
        spec: sizes; any number of frames is accepted.
    """

    def __init__(self, spec: ClipSpec):
        super().__init__()
        c, w = spec.channels, spec.width
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        down, up = dict(stride=(1, 2, 2), padding=(1, 1, 1)), dict(stride=(1, 2, 2), padding=(0, 1, 1))
        self.down1 = nn.Sequential(nn.Conv3d(2 * c, w, (3, 4, 4), **down), nn.LeakyReLU(0.2))
        self.down2 = nn.Sequential(
            nn.Conv3d(w, 2 * w, (3, 4, 4), **down, bias=False), nn.BatchNorm3d(2 * w), nn.LeakyReLU(0.2)
        )
        self.style = nn.Conv3d(spec.latent_dim, 2 * w, 1)
        self.up1 = nn.Sequential(
            nn.ConvTranspose3d(2 * w, w, (1, 4, 4), **up, bias=False), nn.BatchNorm3d(w), nn.ReLU()
        )
        self.up2 = nn.ConvTranspose3d(2 * w, c + 1, (1, 4, 4), **up)
        initialize(self, "kaiming")
        nn.init.constant_(self.up2.bias[c:], -1.0)

    def forward(self, frames: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """frames (B, C, K, H, W), z (B, Z, K), one for each -> frames between (B, C, K, H, W) in [-1, 1]."""
        if self.embed is not None:
            z = z + self.embed(label).to(z.dtype)[:, :, None]
        right = torch.cat([frames[:, :, 1:], frames[:, :, -1:]], dim=2)
        fine = self.down1(torch.cat([frames, right], dim=1))  # (B, w, K, H/2, W/2)
        coarse = self.down2(fine) + self.style(z[..., None, None])  # (B, 2w, K, H/4, W/4) + (B, 2w, K, 1, 1)
        out = self.up2(torch.cat([self.up1(coarse), fine], dim=1))  # (B, C + 1, K, H, W)
        mask = torch.sigmoid(out[:, -1:])
        return mask * torch.tanh(out[:, :-1]) + (1.0 - mask) * 0.5 * (frames + right)


class MultiPeriodGenerator(nn.Module):
    """Key frames at period P, then one generator for each halving.

    Args:
        spec: sizes.
        period: P, a power of two that divides `num_frames` at least twice.
    """

    def __init__(self, spec: ClipSpec, period: int = 4):
        super().__init__()
        self.spec, self.steps = spec, periods_of(spec, period)
        self.keys = KeyGenerator(replace(spec, num_frames=spec.num_frames // period))
        self.between = nn.ModuleList(BetweenGenerator(spec) for _ in self.steps[1:])

    def key_frames(self, z: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """z (B, S, Z) -> key frames of S chained segments and each one's latent (B, Z, n).

        A segment starts with the last key frame of the one before: n = K + (S - 1)(K - 1).
        """
        frames, latents = self.keys(z[:, 0], label, None, None), []
        k = frames.shape[2]
        latents.append(z[:, 0, :, None].expand(-1, -1, k))
        everywhere = torch.ones(len(z), dtype=torch.bool, device=z.device)
        for s in range(1, z.shape[1]):
            more = self.keys(z[:, s], label, frames[:, :, -1:], everywhere)
            frames = torch.cat([frames, more[:, :, 1:]], dim=2)
            latents.append(z[:, s, :, None].expand(-1, -1, k - 1))
        return frames, torch.cat(latents, dim=2)

    def refine(
        self, frames: Tensor, z: Tensor, label: Tensor | None, upto: int | None = None, detached: bool = False
    ) -> list[Tensor]:
        """Key frames (B, C, n, H, W) and latents (B, Z, n) -> clips of period P, P/2, ..., 1 (or the first `upto`).

        Each network's gradients reach the ones before it too, but for `detached`, where it receives frames as data.
        """
        clips = [frames]
        for network in self.between[: None if upto is None else upto - 1]:
            known = clips[-1].detach() if detached else clips[-1]
            clips.append(interleave(known, network(known, z, label)))
            z = z.repeat_interleave(2, dim=2)
        return clips

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), or (B, S, Z) for S chained segments -> the finest clip (B, C, n P, H, W) in [-1, 1]."""
        z = z[:, None] if z.ndim == 2 else z
        return self.refine(*self.key_frames(z, label), label)[-1]


class MultiPeriodDiscriminators(nn.ModuleDict):
    """One discriminator a period, `p4`, `p2`, `p1`; each sees clips of only that period's frames."""

    def __init__(self, spec: ClipSpec, period: int = 4):
        super().__init__(
            {
                f"p{p}": ConvDiscriminator(replace(spec, num_frames=spec.num_frames // p))
                for p in periods_of(spec, period)
            }
        )
