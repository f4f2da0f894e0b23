"""Generators in which late stages see early ones: multi-scale fusion, and attention across layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.attention import CrossLayerAttention
from vidiff.nn.blocks import Init, Norm
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.resampling import enlarge


class _Staged(ConvGenerator):
    """A `ConvGenerator` whose features of each grid can be used."""

    def features(self, z: Tensor, label: Tensor | None) -> list[Tensor]:
        """Features of the grids 4x4, 8x8, ... and half the resolution, each (B, D, t, h, w)."""
        x, found = self.conditioned(z, label), []
        for first in range(0, len(self.layers) - 2, 3):  # convolution, norm, activation; the last stage has no norm
            x = self.layers[first : first + 3](x)
            found.append(x)
        return found

    def _widths(self) -> list[int]:
        return [m.out_channels for m in self.layers if isinstance(m, nn.ConvTranspose3d)][:-1]


class FusionGenerator(_Staged):
    """Every stage paints the clip at its own size, and the paintings are enlarged and added up.

        clip = tanh(head(f_S) + up(c_S(f_S) + up(c_{S-1}(f_{S-1}) + ...)))

    with 1x1x1 convolutions c_i and nearest-neighbour enlargement, as the skip generator of Karras et al. 2020
    (1912.04958, section 4.1). The c_i start at zero: a new network is `ConvGenerator`.

    Args:
        spec, norm, init: as in `ConvGenerator`.
    """

    def __init__(self, spec: ClipSpec, norm: Norm = "batch", init: Init = "dcgan"):
        super().__init__(spec, norm, init)
        self.to_clip = nn.ModuleList(nn.Conv3d(c, spec.channels, 1, bias=False) for c in self._widths())
        for layer in self.to_clip:
            nn.init.zeros_(layer.weight)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) in [-1, 1]."""
        features, skip = self.features(z, label), None
        for x, to_clip in zip(features, self.to_clip):
            painted = to_clip(x)
            skip = painted if skip is None else painted + enlarge(skip, time=skip.shape[2] < x.shape[2])
        clip = self.layers[-2](features[-1])
        clip = torch.tanh(clip + enlarge(skip, time=skip.shape[2] < clip.shape[2]))
        return clip[:, :, : self.spec.num_frames]


class CrossLayerGenerator(_Staged):
    """`ConvGenerator` whose finest features attend to the coarsest, the plan of the whole clip.

    See `vidiff.nn.attention.CrossLayerAttention`; its gate starts at zero: a new network is `ConvGenerator`.

    Args:
        spec, norm, init: as in `ConvGenerator`.
        early: number of the stage that is looked at, 0 = the 4x4 grid.
        heads: of the attention; `width` is a multiple of it.
    """

    def __init__(self, spec: ClipSpec, norm: Norm = "batch", init: Init = "dcgan", early: int = 0, heads: int = 4):
        super().__init__(spec, norm, init)
        widths = self._widths()
        if not 0 <= early < len(widths) - 1:
            raise ValueError(f"early must be a stage before the last, 0 to {len(widths) - 2}, got {early}")
        self.early = early
        self.look_back = CrossLayerAttention(widths[-1], widths[early], heads)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) in [-1, 1]."""
        features = self.features(z, label)
        x = self.look_back(features[-1], features[self.early])
        return self.layers[-2:](x)[:, :, : self.spec.num_frames]
