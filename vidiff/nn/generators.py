"""Generators that make a clip from a latent vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, Init, Norm, initialize, ladder, norm_layer

MAX_MULTIPLIER = 16  # channels never exceed 16 * width


class ConvGenerator(nn.Module):
    """Transposed 3-D convolutions from a latent vector to a clip: DCGAN's generator with a time axis.

    z (B, Z) -> (B, width * 2^(S-1), t0, 4, 4) -> S stages that double space, the last ones time too -> tanh
    (Radford et al. 2016, 1511.06434; 3-D form as in Vondrick et al. 2016, 1609.02612). When `num_frames` is not
    t0 * 2^k the surplus frames at the end are cropped. A label is embedded and concatenated to z.

    Args:
        spec: sizes; `width` is the number of channels before the last layer.
        norm: `batch` as in the paper, or `layer`, `instance`, `none`.
        init: initialisation, see `vidiff.nn.blocks.initialize`.
    """

    def __init__(self, spec: ClipSpec, norm: Norm = "batch", init: Init = "dcgan"):
        super().__init__()
        self.spec = spec
        stages, doublings = ladder(spec)
        self.t0 = -(-spec.num_frames // 2**doublings)
        channels = [spec.width * min(2**i, MAX_MULTIPLIER) for i in reversed(range(stages))]
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        inputs = spec.latent_dim * (2 if self.embed else 1)

        use_bias = norm == "none"
        layers: list[nn.Module] = [
            nn.ConvTranspose3d(inputs, channels[0], (self.t0, 4, 4 * spec.aspect), bias=use_bias),
            norm_layer(norm, channels[0]),
            nn.ReLU(),
        ]
        for i in range(stages):
            last = i == stages - 1
            c_in, c_out = channels[i], spec.channels if last else channels[i + 1]
            kernel_t, stride_t = (4, 2) if i >= stages - doublings else (3, 1)
            layers.append(nn.ConvTranspose3d(c_in, c_out, (kernel_t, 4, 4), (stride_t, 2, 2), 1, bias=last or use_bias))
            if not last:
                layers += [norm_layer(norm, c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        initialize(self, init)

    def conditioned(self, z: Tensor, label: Tensor | None) -> Tensor:
        """z (B, Z), label (B,) or None -> what the first layer takes, (B, Z, 1, 1, 1) or (B, 2 Z, 1, 1, 1)."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(label).to(z.dtype)], dim=1)
        return z[:, :, None, None, None]

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) in [-1, 1]."""
        return self.layers(self.conditioned(z, label))[:, :, : self.spec.num_frames]  # (B, C, T', H, W) cropped to T
