"""Discriminators (and critics) of clips; they return logits, never probabilities."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import (
    ClassEmbedding,
    Init,
    LeakyReLU,
    Norm,
    add_spectral_norm,
    initialize,
    ladder,
    minibatch_stddev,
    norm_layer,
)
from vidiff.nn.generators import MAX_MULTIPLIER


class ConvDiscriminator(nn.Module):
    """Strided 3-D convolutions from a clip to one logit: the mirror image of `ConvGenerator`.

    No normalisation on the first layer, as in DCGAN (Radford et al. 2016, 1511.06434). With classes, the logit gets
    the projection term <embed(y), mean features> (Miyato and Koyama 2018, 1802.05637).

    Args:
        spec: sizes; `width` is the number of channels after the first layer.
        norm: `batch` as in the paper, or `layer`, `instance`, `none`.
        init: initialisation, see `vidiff.nn.blocks.initialize`.
        spectral: spectral normalisation of every layer.
        head: `conv`: one convolution over what is left, a linear map; `fc`: a hidden layer of fully connected units
            before the logit.
        minibatch_std: the head also sees how much the clips of a batch differ, see `minibatch_stddev` (Karras et al.
            2018, 1710.10196); the logit of a clip then depends on the others.
    """

    def __init__(
        self,
        spec: ClipSpec,
        norm: Norm = "batch",
        init: Init = "dcgan",
        spectral: bool = False,
        head: Literal["conv", "fc"] = "conv",
        minibatch_std: bool = False,
    ):
        super().__init__()
        self.spec = spec
        stages, doublings = ladder(spec)
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
            layers.append(LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.channels, self.grid, self.minibatch_std = channels[-1], (t, 4, 4 * spec.aspect), minibatch_std
        inputs = channels[-1] + 1 if minibatch_std else channels[-1]
        if head == "conv":
            self.head = nn.Conv3d(inputs, 1, self.grid)
        elif head == "fc":
            hidden = nn.Linear(inputs * t * 16 * spec.aspect, channels[-1])
            self.head = nn.Sequential(nn.Flatten(), hidden, LeakyReLU(0.2), nn.Linear(channels[-1], 1))
        else:
            raise ValueError(f"head must be conv or fc, got {head!r}")
        self.embed = ClassEmbedding(spec.num_classes, channels[-1]) if spec.num_classes else None
        initialize(self, init)
        if spectral:
            add_spectral_norm(self)

    def logits(self, features: Tensor, label: Tensor | None) -> Tensor:
        """Features of the last stage (B, D, t, 4, 4), label (B,) or None -> logits (B,)."""
        inputs = minibatch_stddev(features) if self.minibatch_std else features
        out = self.head(inputs).flatten()  # (B, 1, 1, 1, 1) or (B, 1) -> (B,)
        if self.embed is not None:
            out = out + (self.embed(label) * features.mean((2, 3, 4))).sum(1)
        return out

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        return self.logits(self.layers(clip), label)
