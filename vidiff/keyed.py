"""Randomness as a pure function of a key such as (seed, step, sample), never of history, worker, rank or batch size.

This is what makes a resumed run equal the uninterrupted one and two processes equal one: nothing has to be restored,
because nothing is remembered.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager

import torch
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit integer from any sequence of integers and strings; different sequences give unrelated integers."""
    text = "\x1f".join(f"{type(p).__name__[0]}{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU torch.Generator seeded with `key(*parts)`."""
    return torch.Generator().manual_seed(key(*parts))


def normal(slots: list[int] | range | Tensor, shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Standard normal (len(slots), *shape) float32 on the CPU; row i depends on `parts` and slots[i] alone."""
    rows = [torch.randn(shape, generator=generator(*parts, int(s))) for s in slots]
    return torch.stack(rows) if rows else torch.empty(0, *shape)


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
