"""The optional terms of a translation against plain formulas, on any networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff import keyed
from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.consistency import Consistency, predictors

SPEC = ClipSpec(3, 4, 16, width=4)


@pytest.fixture
def networks():
    """Both generators (one convolution each) and both predictors."""
    with keyed.forked("networks"):
        pair = {name: nn.Conv3d(3, 3, 3, padding=1) for name in ("a2b", "b2a")}
        return nn.ModuleDict(pair | predictors(SPEC)).double()


@pytest.fixture
def x():
    return keyed.normal(range(2), (3, 4, 16, 16), "x").clamp(-1, 1).double()


def numbers(terms):
    return {k: float(v.detach()) for k, v in terms.items()}


def terms_of(consistency, networks, x, source, target):
    fake = networks[f"{source}2{target}"](x)
    return numbers(consistency.terms(networks, x, fake, networks[f"{target}2{source}"](fake), source, target))


def test_nothing_by_default(networks, x):
    consistency = Consistency()
    consistency.prepare()
    assert consistency.terms(networks, x, x, x, "a", "b") == {}


@pytest.mark.parametrize("source, target", ["ab", "ba"])
def test_flow_term(networks, x, source, target):
    """With a method by which everything moves by (1, 2), there and back; it is asked about the source."""
    consistency, asked = Consistency(flow_weight=3.0), []

    def moves(first, second):
        asked.append((first, second))
        sign = -1.0 if len(asked) % 2 else 1.0
        return torch.tensor([sign, 2 * sign])[None, :, None, None].expand(len(first), 2, 16, 16)

    consistency.flow_of = moves
    fake = networks[f"{source}2{target}"](x).detach()
    inside = fake[:, :, 1:, 2:, 1:] - fake[:, :, :-1, :-2, :-1]
    expected = 3.0 * float(inside.abs().sum()) / fake[:, :, 1:].numel()
    assert terms_of(consistency, networks, x, source, target) == {f"flow_{target}": pytest.approx(expected, abs=1e-6)}
    frames = x[0].transpose(0, 1)  # (T, C, H, W)
    torch.testing.assert_close(asked[0][0][:3], frames[1:])
    torch.testing.assert_close(asked[0][1][:3], frames[:-1])
    assert terms_of(consistency, networks, x[:, :, :1], source, target) == {}  # one frame does not move


@pytest.mark.parametrize("kind", ["l1", "mse"])
@pytest.mark.parametrize("source, target", ["ab", "ba"])
def test_recycle_terms(networks, x, kind, source, target):
    size = (lambda d: d.abs().mean()) if kind == "l1" else (lambda d: (d * d).mean())
    fake, back = networks[f"{source}2{target}"](x), networks[f"{target}2{source}"]
    p_x, p_y = networks[f"next_{source}"], networks[f"next_{target}"]
    own = torch.cat([p_x(x[:, :, t - 2 : t]) for t in (2, 3)], dim=2)
    foretold = torch.cat([p_y(fake[:, :, t - 2 : t]) for t in (2, 3)], dim=2)
    expected = {
        f"recycle_{source}": 4.0 * float(size(x[:, :, 2:] - back(foretold))),
        f"predict_{source}": 4.0 * float(size(x[:, :, 2:] - own)),
    }
    consistency = Consistency(recycle_weight=4.0, cycle_loss=kind)
    assert terms_of(consistency, networks, x, source, target) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UsageError, match="recycle_weight needs clips of 3 frames"):
        predictors(ClipSpec(3, 2, 16, width=4))


def test_perceptual_term(networks, x):
    consistency = Consistency(perceptual_weight=2.0)
    frozen = nn.Conv3d(3, 5, 3).double().requires_grad_(False)
    maps = lambda clip: [clip[..., ::2], frozen(clip).relu()]  # noqa: E731
    consistency.maps_of = maps
    rec = networks["b2a"](networks["a2b"](x))
    each = [((m - n) ** 2).mean() for m, n in zip(maps(rec), maps(x))]
    expected = pytest.approx(2.0 * float(sum(each)) / 2, abs=1e-6)
    assert terms_of(consistency, networks, x, "a", "b") == {"perceptual_a": expected}
