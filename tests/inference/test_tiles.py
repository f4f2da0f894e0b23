"""Tiles in space: the receptive field is what gradients say, tiles equal the whole, what cannot is cross-faded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.inference.tiles import _spans, plan_tiles, space_radius, through_tiles
from vidiff.nn.resnet import GRID, ResnetGenerator, StarGenerator

SPEC = ClipSpec(num_frames=2, resolution=16, width=4, num_classes=2)


def generator(kind=ResnetGenerator, blocks: int = 1, **options) -> nn.Module:
    network = kind(SPEC, blocks, **{"norm": "none", **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in network.parameters():
            nn.init.normal_(p, 0.0, 0.1)
    return network


def seen(network: nn.Module, side: int = 80) -> int:
    """The largest distance at which a pixel of the input moves a pixel of the output, by its gradient."""
    clip = torch.rand(1, 3, 1, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    label = (torch.zeros(1, dtype=torch.int64),) if isinstance(network, StarGenerator) else ()
    out, far = network(clip, *label), 0
    for place in range(side // 2, side // 2 + GRID):
        (gradient,) = torch.autograd.grad(out[..., place, place].sum(), clip, retain_graph=True)
        rows = gradient.abs().amax((0, 1, 2, 4)).nonzero()[:, 0]
        far = max(far, place - int(rows.min()), int(rows.max()) - place)
    return far


@pytest.mark.parametrize("kind", [ResnetGenerator, StarGenerator])
@pytest.mark.parametrize(
    "options", [{}, {"padding": "reflect", "conv": "full"}, {"blocks": 0}, {"skip": True}, {"up": "resize"}]
)
def test_the_radius_is_what_gradients_reach(kind, options):
    network = generator(kind, **options)
    assert space_radius(network) - GRID < seen(network) <= space_radius(network)


def test_networks_that_see_everything_have_no_radius():
    assert space_radius(generator(norm="instance")) is None
    assert space_radius(generator(norm="frame")) is None
    assert space_radius(nn.Sequential(generator(), nn.Linear(2, 2))) is None  # what is not known


@pytest.mark.parametrize("size", [(100, 60), (48, 132), (40, 32)])
def test_tiles_equal_the_whole(size):
    network = generator()
    tile, trim, fade = plan_tiles(network, 61)
    assert tile == 60 and tile > 2 * trim + fade and trim >= space_radius(network)
    clip = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(2)) * 2 - 1
    sizes = []

    def run(part: torch.Tensor) -> torch.Tensor:
        sizes.append(part.shape[2:])
        return network(part[None])[0]

    with torch.no_grad():
        whole = network(clip[None])[0]
        parts = through_tiles(clip, run, tile, trim, fade)
        assert float((parts - whole).abs().max()) < 1e-4
        assert all(max(s) <= tile and not any(side % GRID for side in s) for s in sizes)
        if max(size) > tile:
            near = through_tiles(clip, run, tile, GRID, fade)
            assert float((near - whole).abs().max()) > 1e-3


@pytest.mark.parametrize("length, tile, trim, fade", [(64, 32, 0, 16), (60, 32, 8, 4), (33, 16, 4, 4), (20, 32, 0, 16)])
def test_weights_of_one_side_add_up_and_never_use_what_is_dropped(length, tile, trim, fade):
    total = torch.zeros(length)
    for start, weight in _spans(length, tile, trim, fade):
        assert start + len(weight) <= length and 0.7 < float(weight.max()) <= 1.0
        assert start == 0 or float(weight[:trim].sum()) == 0.0
        total[start : start + len(weight)] += weight
    assert float(total.min()) > 0.99


def test_a_tile_too_small_is_refused():
    with pytest.raises(UsageError, match="a tile needs more than"):
        plan_tiles(generator(), 32)
    with pytest.raises(UsageError, match="at least 16"):
        plan_tiles(generator(norm="instance"), 8)
    assert plan_tiles(generator(norm="instance"), 64) == (64, 0, 32)
