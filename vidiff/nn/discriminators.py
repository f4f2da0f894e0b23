"""Discriminators (and critics) of clips; they return logits, never probabilities."""

from __future__ import annotations

from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import (
    ClassEmbedding,
    Init,
    Norm,
    add_spectral_norm,
    check_frames,
    initialise,
    norm_layer,
    spatial_stages,
    time_doublings,
)
from vidiff.nn.generators import MAX_MULTIPLIER


class ConvDiscriminator(nn.Module):
    """Strided 3-D convolutions from a clip to one logit: the mirror image of `ConvGenerator`.

    No normalisation on the first layer, as in DCGAN (Radford et al. 2016, 1511.06434). With classes, the logit gets
    the projection term <embed(y), mean features> (Miyato and Koyama 2018, 1802.05637).

    Args:
        spec: sizes; `width` is the number of channels after the first layer.
        norm: `batch` as in the paper, or `layer`, `instance`, `none`.
        init: initialisation, see `vidiff.nn.blocks.initialise`.
        spectral: spectral normalisation of every layer.
    """

    def __init__(self, spec: ClipSpec, norm: Norm = "batch", init: Init = "dcgan", spectral: bool = False):
        super().__init__()
        check_frames(spec.num_frames)
        self.spec = spec
        stages = spatial_stages(spec.resolution)
        doublings = time_doublings(spec.num_frames, stages)
        channels = [spec.channels] + [spec.width * min(2**i, MAX_MULTIPLIER) for i in range(stages)]
        layers: list[nn.Module] = []
        t = spec.num_frames
        for i in range(stages):
            halve = i < doublings
            kernel_t, stride_t = (4, 2) if halve else (3, 1)
            t = t // 2 if halve else t
            normed = i > 0 and norm != "none"
            layers.append(
                nn.Conv3d(channels[i], channels[i + 1], (kernel_t, 4, 4), (stride_t, 2, 2), 1, bias=not normed)
            )
            if normed:
                layers.append(norm_layer(norm, channels[i + 1]))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv3d(channels[-1], 1, (t, 4, 4))
        self.embed = ClassEmbedding(spec.num_classes, channels[-1]) if spec.num_classes else None
        initialise(self, init)
        if spectral:
            add_spectral_norm(self)

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        features = self.layers(clip)  # (B, D, t, 4, 4)
        logits = self.head(features).flatten()  # (B, 1, 1, 1, 1) -> (B,)
        if self.embed is not None:
            logits = logits + (self.embed(label) * features.mean((2, 3, 4))).sum(1)
        return logits
