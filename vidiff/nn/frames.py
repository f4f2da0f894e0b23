"""Frame by frame: 2-D networks written as 3-D convolutions with a kernel of one frame, and recurrent latent paths.

One layout (B, C, T, H, W) throughout; BatchNorm then runs over all frames of all clips, over all processes too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Init, initialize, spatial_stages
from vidiff.nn.generators import MAX_MULTIPLIER


def frame_decoder(inputs: int, spec: ClipSpec, init: Init | None = "dcgan") -> nn.Sequential:
    """Latent path (B, inputs, T, 1, 1) -> features (B, width, T, H/2, W/2), every frame by itself.

    Transposed convolutions with BatchNorm and ReLU: DCGAN's generator (Radford et al. 2016, 1511.06434) without its
    last layer, for which see `frame_head`. `init` None keeps PyTorch's initialisation.
    """
    stages = spatial_stages(spec.resolution)
    channels = [spec.width * min(2**i, MAX_MULTIPLIER) for i in reversed(range(stages))]
    grid = nn.ConvTranspose3d(inputs, channels[0], (1, 4, 4 * spec.aspect), bias=False)
    layers = [grid, nn.BatchNorm3d(channels[0]), nn.ReLU()]
    for a, b in zip(channels, channels[1:]):
        layers += [nn.ConvTranspose3d(a, b, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=False), nn.BatchNorm3d(b), nn.ReLU()]
    decoder = nn.Sequential(*layers)
    if init is not None:
        initialize(decoder, init)
    return decoder


def frame_head(width: int, channels: int, bias: bool = True, init: Init | None = "dcgan") -> nn.Module:
    """Features (B, width, T, H/2, W/2) -> (B, channels, T, H, W), before the tanh or sigmoid."""
    head = nn.ConvTranspose3d(width, channels, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=bias)
    if init is not None:
        initialize(head, init)
    return head


class LSTMPath(nn.Module):
    """z -> a path of latents: an LSTM (Hochreiter and Schmidhuber 1997) that starts from z and is fed z at each frame.

    Args:
        latent_dim: length of z and of the path's points.
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.start = nn.Linear(latent_dim, 2 * latent_dim)
        self.cell = nn.LSTM(latent_dim, latent_dim, batch_first=True)

    def forward(self, z: Tensor, num_frames: int) -> Tensor:
        """z (B, Z) -> (B, Z, T, 1, 1); the first frames do not depend on how many follow."""
        h, c = self.start(z).chunk(2, dim=1)
        steps = z[:, None].expand(-1, num_frames, -1)  # (B, T, Z)
        path, _ = self.cell(steps, (torch.tanh(h)[None].contiguous(), c[None].contiguous()))
        return path.transpose(1, 2)[..., None, None]  # (B, T, Z) -> (B, Z, T, 1, 1)
