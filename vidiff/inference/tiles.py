"""A frame of any size through a network: padded to its grid, and in tiles that overlap where it is large."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.errors import UsageError
from vidiff.inference.windows import check_room
from vidiff.nn.clip_layers import ClipConv, Double
from vidiff.nn.resnet import GRID
from vidiff.nn.restorer import DepthToSpace, SpaceToDepth

POINTWISE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.Tanh)


def on_grid(clips: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
    """Clips (..., H, W) of any size through a network that takes sides that are multiples of GRID: what is missing to
    one repeats the border, and is cut off again."""
    h, w = clips.shape[-2:]
    return network(F.pad(clips, (0, -w % GRID, 0, -h % GRID, 0, 0), "replicate"))[..., :h, :w]


def space_radius(network: nn.Module) -> int | None:
    """Pixels on either side that a pixel of a generator's output depends on; None: there is no bound, or no known one.

    With cell i of a layer at pixel i * j (j: product of the strides before), a convolution reaches p j back and
    (k - 1 - p) j ahead, a transposed one (k - 1 - p) j' back and p j' ahead at its output's j' = j / stride.
    """
    back = ahead = 0
    jump = 1.0
    for layer in _layers(network):
        if isinstance(layer, ClipConv):
            kernel, pad = layer.space.kernel_size[1], layer.side + layer.space.padding[1]
            back, ahead = back + pad * jump, ahead + (kernel - 1 - pad) * jump
            jump *= layer.space.stride[1]
        elif isinstance(layer, nn.ConvTranspose3d):
            kernel, pad = layer.kernel_size[1], layer.padding[1]
            jump /= layer.stride[1]
            back, ahead = back + (kernel - 1 - pad) * jump, ahead + pad * jump
        elif isinstance(layer, SpaceToDepth):  # as a convolution whose kernel is its stride
            ahead, jump = ahead + (layer.factor - 1) * jump, jump * layer.factor
        elif isinstance(layer, DepthToSpace):
            jump /= layer.factor
            back += (layer.factor - 1) * jump
        elif isinstance(layer, Double):
            back, ahead, jump = back + jump, ahead + jump / 2, jump / 2
        elif isinstance(layer, nn.Conv3d) and layer.kernel_size[1:] == layer.stride[1:] == (1, 1):
            continue  # also one that runs beside the others
        elif not isinstance(layer, POINTWISE):
            return None  # a norm over the frame, attention, or something that cannot be seen through
    return int(max(back, ahead))


def _layers(network: nn.Module) -> list[nn.Module]:
    """The layers in the order they run in; what does not declare that its parts run in order is a layer itself."""
    if not (isinstance(network, nn.Sequential) or getattr(network, "in_order", False)):
        return [network]
    return [layer for child in network.children() for layer in _layers(child)]


def plan_tiles(network: nn.Module, tile: int) -> tuple[int, int, int]:
    """(tile, trim, fade) in pixels, all multiples of GRID, for tiles of about `tile` pixels with their overlap.

    As with windows in time: a network with a finite radius is exact away from a tile's sides, where `trim` pixels are
    dropped and the fade only hides rounding; any other is faded over half a tile.

    Raises:
        UsageError: the tile is too small to leave anything.
    """
    radius = space_radius(network)
    tile -= tile % GRID
    if radius is None:
        if tile < 4 * GRID:
            raise UsageError(f"tile {tile}: at least {4 * GRID} pixels are needed")
        return tile, 0, tile // 2 - tile // 2 % GRID
    trim, fade = -(-radius // GRID) * GRID, GRID
    check_room("tile", tile, radius, 2 * trim + fade, "pixels")
    return tile, trim, fade


def through_tiles(
    clip: Tensor, network: Callable[[Tensor], Tensor], tile: int, trim: int, fade: int, wraps: bool = False
) -> Tensor:
    """Clips (..., H, W), sides multiples of GRID, through `network` in tiles -> float (..., H, W).

    Every pixel is the weighted mean of the tiles that cover it: 0 over the outer `trim` pixels, rising evenly over
    `fade`, then 1; sides on the border of the frame have weight 1.

    Args:
        network: clips (..., h, w) with h, w <= `tile` -> float clips (..., h, w).
        tile, trim, fade: pixels; tile > 2 * trim + fade.
        wraps: whether the left side continues the right one: tiles then lie across that seam, too.
    """
    height, width = clip.shape[-2:]
    rows = _spans(height, tile, trim, fade)
    columns = (_spans_around if wraps else _spans)(width, tile, trim, fade)
    if len(rows) == len(columns) == 1:
        return network(clip)
    total = weights = None
    for top, down in rows:
        for left, across in columns:
            place = (torch.arange(len(across)) + left) % width
            rows_here = slice(top, top + len(down))
            out = network(clip[..., rows_here, :].index_select(-1, place.to(clip.device)))
            if total is None:
                total, weights = out.new_zeros(*out.shape[:-2], height, width), out.new_zeros(height, width)
            weight = (down[:, None] * across).to(out)  # (h, w)
            total[..., rows_here, :].index_add_(-1, place.to(out.device), out * weight)
            weights[rows_here].index_add_(1, place.to(out.device), weight)
    return total.div_(weights)


def _spans(length: int, tile: int, trim: int, fade: int) -> list[tuple[int, Tensor]]:
    """(first pixel, weight of each pixel) of the tiles along one side; the last reaches further back instead."""
    tile = min(tile, length)
    step = tile - 2 * trim - fade
    starts = [0] if tile == length else [*range(0, length - tile, step), length - tile]
    place, whole = torch.arange(tile, dtype=torch.float32), torch.ones(tile)
    rise = ((place - trim + 1) / (fade + 1)).clamp(0, 1)  # 0 before `trim`, 1 after `trim + fade`
    ends = [(rise if s > 0 else whole, rise.flip(0) if s + tile < length else whole) for s in starts]
    return [(s, first * last) for s, (first, last) in zip(starts, ends)]


def _spans_around(length: int, tile: int, trim: int, fade: int) -> list[tuple[int, Tensor]]:
    """As `_spans`, around a circle: every tile has neighbors on both sides, the last one those of the first."""
    if tile >= length:
        return [(0, torch.ones(length))]
    count = -(-length // (tile - 2 * trim - fade))
    place = torch.arange(tile, dtype=torch.float32)
    rise = ((place - trim + 1) / (fade + 1)).clamp(0, 1)
    return [(i * length // count // GRID * GRID, rise * rise.flip(0)) for i in range(count)]
