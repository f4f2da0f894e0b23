"""Networks that restore clips: one that predicts the correction to its input, and a critic that shows its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import check_frames, initialize
from vidiff.nn.clip_layers import ClipConv
from vidiff.nn.resnet import PatchDiscriminator


class SpaceToDepth(nn.Module):
    """(B, C, T, H, W) -> (B, C s^2, T, H / s, W / s): a square of s x s pixels becomes one place (Shi et al. 2016,
    1609.05158, backwards)."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        s = self.factor
        x = x.reshape(b, c, t, h // s, s, w // s, s)  # (B, C, T, H/s, s, W/s, s)
        return x.permute(0, 1, 4, 6, 2, 3, 5).reshape(b, c * s * s, t, h // s, w // s)


class DepthToSpace(nn.Module):
    """The inverse of `SpaceToDepth`: (B, C s^2, T, H, W) -> (B, C, T, s H, s W)."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        s = self.factor
        x = x.reshape(b, c // (s * s), s, s, t, h, w)  # (B, C, s, s, T, H, W)
        return x.permute(0, 1, 4, 5, 2, 6, 3).reshape(b, c // (s * s), t, h * s, w * s)


class RestorerBlock(nn.Module):
    """x + conv1(lrelu(conv3(x))): a factorized kernel over space and time, then one over space alone."""

    in_order = True  # see `vidiff.nn.clip_layers.ResidualBlock`
    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, width: int, time: int):
        super().__init__()
        self.layers = nn.Sequential(
            ClipConv(width, width, 3, time=time), nn.LeakyReLU(0.1), ClipConv(width, width, 3, time=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResidualRestorer(nn.Module):
    """y = x + f(x): squares of pixels become places, residual blocks over space and time, and back to pixels.

    No norm, so that contrast comes through and a long video may be cut anywhere; the last convolution begins at 0: a
    new network is the identity. Any number of frames, any sides that are multiples of `factor`.

    Args:
        spec: sizes; `width` channels everywhere.
        blocks: residual blocks; each looks one frame further to either side (none where `num_frames` is 1).
        factor: side of the squares, 1, 2 or 4: the larger, the cheaper and the wider the view.
    """

    in_order = True

    def __init__(self, spec: ClipSpec, blocks: int = 5, factor: int = 2):
        super().__init__()
        check_frames(spec.num_frames)
        time = 3 if spec.num_frames > 1 else 1
        inner, w = spec.channels * factor**2, spec.width
        self.layers = nn.Sequential(
            SpaceToDepth(factor),
            ClipConv(inner, w, 3, time=1),
            *(RestorerBlock(w, time) for _ in range(blocks)),
            nn.LeakyReLU(0.1),
            ClipConv(w, inner, 3, time=1),
            DepthToSpace(factor),
        )
        initialize(self, "kaiming")
        with torch.no_grad():
            for m in self.modules():
                if isinstance(m, RestorerBlock):
                    m.layers[-1].space.weight.mul_(0.1)  # deep sums of blocks begin calm
                if isinstance(m, ClipConv) and m.time is not None:
                    nn.init.dirac_(m.time.weight)
            self.layers[-2].space.weight.zero_()

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> its restoration, about [-1, 1]; the label is not used."""
        return clip + self.layers(clip)


class FeaturePatchDiscriminator(PatchDiscriminator):
    """A `PatchDiscriminator` that gives, beside its logits, what it sees after each activation.

    Args:
        spec, layers, norm: see `PatchDiscriminator`.
    """

    def __init__(self, spec: ClipSpec, layers: int = 2):
        super().__init__(spec, layers, norm="none")
        initialize(self, "kaiming")

    def forward(self, clip: Tensor, label: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """clip (B, C, T, H, W) -> logits (B, 1, T', H', W'), feature maps."""
        maps, x = [], clip
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                maps.append(x)
        return x, maps
