"""Parallel branches: parts of a network that each work on a share of the frames or of the picture."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Init, Norm, initialize
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.generators import ConvGenerator

AXIS = {"time": 2, "space": 4}


class Branches(nn.Module):
    """K networks of one form with weights of their own, each on a share of the clip: concat_k f_k(share k of x).

    All of them run at once: their shares are put side by side as channels, and every convolution has K groups. The
    first axis of every tensor counts the branches.

    Args:
        layers: the form: convolutions, norms and activations.
        branches: K.
        over: `time`: a share is T / K successive frames; `space`: a strip of W / K columns.
    """

    def __init__(self, layers: nn.Sequential, branches: int = 2, over: Literal["time", "space"] = "time"):
        super().__init__()
        if over not in AXIS or branches < 1:
            raise ValueError(f"branches must be at least 1 and over time or space, got {branches} over {over!r}")
        self.branches, self.over = branches, over
        self.layers = nn.Sequential(*[_side_by_side(layer, branches) for layer in layers])

    def _shares(self, x: Tensor) -> tuple[Tensor, ...]:
        size = x.shape[AXIS[self.over]]
        if size % self.branches:
            what = "frames" if self.over == "time" else "columns"
            raise ValueError(f"{size} {what} cannot be shared by {self.branches} branches")
        return x.chunk(self.branches, AXIS[self.over])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H', W')."""
        side_by_side = torch.cat(self._shares(x), dim=1)  # (B, K C, T / K, H, W)
        return torch.cat(self.layers(side_by_side).chunk(self.branches, 1), dim=AXIS[self.over])


def _side_by_side(layer: nn.Module, k: int) -> nn.Module:
    """K layers like this one as one layer, for K times the channels."""
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        sizes = (layer.kernel_size, layer.stride, layer.padding)
        return type(layer)(k * layer.in_channels, k * layer.out_channels, *sizes, groups=k, bias=layer.bias is not None)
    if isinstance(layer, nn.GroupNorm):
        return nn.GroupNorm(k * layer.num_groups, k * layer.num_channels)
    if isinstance(layer, nn.BatchNorm3d | nn.InstanceNorm3d):
        return type(layer)(k * layer.num_features, affine=layer.affine)
    if any(True for _ in layer.parameters()):
        raise ValueError(f"branches are made of convolutions, norms and activations, not of {type(layer).__name__}")
    return layer


def _branched(layers: nn.Sequential, branches: int, over: Literal["time", "space"], init: Init) -> Branches:
    if not any(isinstance(m, nn.modules.conv._ConvNd) for m in layers):
        raise ValueError("this resolution leaves no stage for branches: 16 pixels or more are needed")
    made = Branches(layers, branches, over)
    initialize(made.layers, init)
    return made


class BranchGenerator(ConvGenerator):
    """`ConvGenerator` whose middle stages are branches: shared 4x4 grid -> K shares -> shared last layer.

    The last layer reaches over the seams. Each branch has the channels of the plain generator's stages.

    Args:
        spec, norm, init: as in `ConvGenerator`.
        branches: K; the frames of the first grid (`time`) or its 4 columns (`space`) are a multiple of it.
        over: what is shared out, `time` or `space`.

    Raises:
        ValueError: it cannot be shared out.
    """

    def __init__(
        self,
        spec: ClipSpec,
        norm: Norm = "batch",
        init: Init = "dcgan",
        branches: int = 2,
        over: Literal["time", "space"] = "time",
    ):
        super().__init__(spec, norm, init)
        if (self.t0 if over == "time" else 4) % branches:
            what = f"{self.t0} frames" if over == "time" else "4 columns"
            raise ValueError(f"the first grid has {what}, which {branches} branches cannot share")
        self.layers = nn.Sequential(
            *self.layers[:3], _branched(self.layers[3:-2], branches, over, init), *self.layers[-2:]
        )


class BranchDiscriminator(ConvDiscriminator):
    """`ConvDiscriminator` whose stages after the first are branches: shared first layer -> K shares -> shared logit.

    Args:
        spec, norm, init: as in `ConvDiscriminator`.
        branches, over: as in `BranchGenerator`; after the first layer each share's frames and columns are a multiple
            of what the stages behind it divide by.

    Raises:
        ValueError: it cannot be shared out.
    """

    def __init__(
        self,
        spec: ClipSpec,
        norm: Norm = "batch",
        init: Init = "dcgan",
        branches: int = 2,
        over: Literal["time", "space"] = "time",
    ):
        super().__init__(spec, norm, init)
        if (self.grid[0] if over == "time" else 4) % branches:
            what = f"{self.grid[0]} frames" if over == "time" else "4 columns"
            raise ValueError(f"the last grid has {what}, which {branches} branches cannot share")
        self.layers = nn.Sequential(*self.layers[:2], _branched(self.layers[2:], branches, over, init))
