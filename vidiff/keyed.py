"""Randomness as a pure function of a key such as (seed, step, sample), never of history, worker, rank or batch size.

This is what makes a resumed run equal the uninterrupted one and two processes equal one: nothing has to be restored,
because nothing is remembered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Between:
    """A slot on the way from one to another: at share 0 it is the first, at 1 the second."""

    a: int
    b: int
    share: float


def key(*parts: int | str) -> int:
    """A 63-bit integer from any sequence of integers and strings; different sequences give unrelated integers."""
    text = "\x1f".join(f"{type(p).__name__[0]}{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU torch.Generator seeded with `key(*parts)`."""
    return torch.Generator().manual_seed(key(*parts))


def normal(slots: Sequence[int | Between] | Tensor, shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Standard normal (len(slots), *shape) float32 on the CPU; row i depends on `parts` and slots[i] alone.

    Between two slots it is `slerp` of theirs, which is as far from the origin as they are.
    """

    def row(slot: int | Between) -> Tensor:
        if not isinstance(slot, Between):
            return torch.randn(shape, generator=generator(*parts, int(slot)))
        if slot.a == slot.b or slot.share in (0.0, 1.0):
            return row(slot.b if slot.share == 1.0 else slot.a)
        return slerp(row(slot.a), row(slot.b), slot.share)

    rows = [row(slot) for slot in slots]
    return torch.stack(rows) if rows else torch.empty(0, *shape)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Spherical interpolation, sin((1 - s) u) / sin u a + sin(s u) / sin u b, u the angle between a and b.

    White 2016, "Sampling Generative Networks", 1609.04468: in many dimensions a straight line between two normal
    vectors passes nearer to the origin than normal vectors ever are.

    Args:
        a, b: of one shape.
        share: s, 0 for a to 1 for b.
    """
    x, y = a.double().flatten(), b.double().flatten()
    cosine = float(x @ y / (x.norm() * y.norm()).clamp_min(1e-12))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-6:  # the same direction, or opposite ones, between which there is no one way
        return torch.lerp(a.double(), b.double(), share).to(a)
    out = math.sin((1 - share) * angle) / math.sin(angle) * x + math.sin(share * angle) / math.sin(angle) * y
    return out.reshape(a.shape).to(a)


def integers(slots: list[int] | range | Tensor, high: int, *parts: int | str) -> Tensor:
    """Uniform integers in [0, high), int64 (len(slots),); entry i depends on `parts` and slots[i] alone."""
    return torch.tensor([key(*parts, "int", int(s)) % high for s in slots], dtype=torch.int64)


@contextmanager
def forked(*parts: int | str):
    """Run a block under torch's global CPU generator seeded by the key; the caller's state is put back afterwards.

    Only the CPU generator: what is drawn under a key is drawn there, and saving every CUDA generator costs a
    synchronisation.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(key(*parts))
    try:
        yield
    finally:
        torch.set_rng_state(state)
