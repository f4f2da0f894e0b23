"""The networks of MoCoGAN: a recurrent frame-by-frame generator, a discriminator of frames and one of clips.

Initialised as PyTorch does, because the authors' code does so.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import spatial_stages
from vidiff.nn.frames import frame_decoder, frame_head
from vidiff.nn.generators import MAX_MULTIPLIER


class MoCoGenerator(nn.Module):
    """[content, one-hot category, motion_t] -> frame t, with motion_t = GRU(e_t, motion_{t-1}).

    Args:
        spec: sizes; `latent_dim` is the content's, `num_classes` the category's.
        motion_dim: size of e_t, of the GRU's state and of the motion latent.
        gate_bias: added to the update gate's bias at the start. With 2 a state keeps about 0.9 of itself from frame to
            frame, a path that is slow and never ends; with PyTorch's 0 it forgets within two frames, and training turns
            h_0 into a clock that runs into a corner.
    """

    def __init__(self, spec: ClipSpec, motion_dim: int = 10, gate_bias: float = 0.0):
        super().__init__()
        self.num_classes, self.motion_dim = spec.num_classes or 0, motion_dim
        self.cell = nn.GRUCell(motion_dim, motion_dim)
        with torch.no_grad():
            self.cell.bias_ih[motion_dim : 2 * motion_dim] += gate_bias  # the gates are stored as reset, update, new
        self.decoder = frame_decoder(spec.latent_dim + self.num_classes + motion_dim, spec, init=None)
        self.head = frame_head(spec.width, spec.channels, bias=False, init=None)

    def motion(self, noise: Tensor) -> Tensor:
        """Starting state and e_1 .. e_T, (B, 1 + T, M) -> motion latents (B, T, M)."""
        state, path = noise[:, 0], []
        for t in range(1, noise.shape[1]):
            state = self.cell(noise[:, t], state)
            path.append(state)
        return torch.stack(path, dim=1)

    def noise_from(self, noise: Tensor, start: Tensor, num_frames: int) -> Tensor:
        """A path's noise (B, 1 + S, M) from step `start` (B,) on: the state h_start, then the next `num_frames` e."""
        states, state = [noise[:, 0]], noise[:, 0]
        for t in range(1, int(start.max()) + 1):
            state = self.cell(noise[:, t], state)
            states.append(state)
        rows = torch.arange(len(noise), device=noise.device)
        steps = start[:, None] + 1 + torch.arange(num_frames, device=noise.device)  # (B, T)
        return torch.cat([torch.stack(states, 1)[rows, start][:, None], noise[rows[:, None], steps]], dim=1)

    def forward(self, content: Tensor, label: Tensor | None, noise: Tensor) -> Tensor:
        """content (B, Z), label (B,) or None, noise (B, 1 + T, M) -> clip (B, C, T, H, W) in [-1, 1]."""
        if self.num_classes:
            shares = label if label.is_floating_point() else F.one_hot(label, self.num_classes)  # (B, K)
            content = torch.cat([content, shares.to(content.dtype)], dim=1)
        motion = self.motion(noise)
        constant = content[:, None].expand(-1, motion.shape[1], -1)  # (B, Z) -> (B, T, Z)
        path = torch.cat([constant, motion], dim=2).transpose(1, 2)  # (B, T, Z + M) -> (B, Z + M, T)
        return torch.tanh(self.head(self.decoder(path[..., None, None])))


class Noise(nn.Module):
    """x + sigma * normal, in training; drawn from the global generator, which every step sets."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x) if self.training and self.sigma else x


def _discriminator_layers(channels: list[int], head: nn.Module, kernels: list[int], noise: float) -> nn.Sequential:
    """Strided convolutions over space, unpadded ones over time, BatchNorm from the second on, no biases."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(channels, channels[1:])):
        layers.append(Noise(noise))
        layers.append(nn.Conv3d(a, b, (kernels[i], 4, 4), (1, 2, 2), (0, 1, 1), bias=False))
        if i:
            layers.append(nn.BatchNorm3d(b))
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, Noise(noise), head)


class FrameDiscriminator(nn.Module):
    """D_I: frames (B, C, 1, H, W) -> logits of overlapping patches (B, P)."""

    def __init__(self, spec: ClipSpec, noise: float = 0.0):
        super().__init__()
        stages = spatial_stages(spec.resolution)
        channels = [spec.channels] + [spec.width * min(2**i, MAX_MULTIPLIER) for i in range(stages - 1)]
        head = nn.Conv3d(channels[-1], 1, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False)
        self.layers = _discriminator_layers(channels, head, [1] * stages, noise)

    def forward(self, frames: Tensor) -> Tensor:
        return self.layers(frames).flatten(1)


class ClipDiscriminator(nn.Module):
    """D_V: clips (B, C, T, H, W) -> logits (B, P) of P windows in time, and of the category (B, K) when there is one.

    One kernel of up to 4 frames a layer: with 16 frames of 64x64 exactly one window is left.
    """

    def __init__(self, spec: ClipSpec, noise: float = 0.0):
        super().__init__()
        self.num_classes = spec.num_classes or 0
        stages, t, kernels = spatial_stages(spec.resolution), spec.num_frames, []
        for _ in range(stages):
            kernels.append(min(4, t))
            t -= kernels[-1] - 1
        channels = [spec.channels] + [spec.width * min(2**i, MAX_MULTIPLIER) for i in range(stages)]
        head = nn.Conv3d(channels[-1], 1 + self.num_classes, (min(4, t), 4, 4 * spec.aspect), bias=False)
        self.layers = _discriminator_layers(channels, head, kernels, noise)

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        out = self.layers(clip).flatten(2)  # (B, 1 + K, P, 1, 1) -> (B, 1 + K, P)
        return out[:, 0], out[:, 1:].mean(2) if self.num_classes else None


class MoCoDiscriminators(nn.ModuleDict):
    """`frame` and `clip`: the two discriminators as one player.

    Args:
        spec: sizes.
        noise: standard deviation of the noise before each of their convolutions, in training. Without it the
            one of clips is right about every clip from the first hundreds of updates on and movement dies. ValueError
            if negative.
    """

    def __init__(self, spec: ClipSpec, noise: float = 0.0):
        if noise < 0:
            raise ValueError(f"noise must not be negative, got {noise}")
        super().__init__({"frame": FrameDiscriminator(spec, noise), "clip": ClipDiscriminator(spec, noise)})
