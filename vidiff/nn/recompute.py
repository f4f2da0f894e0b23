"""Blocks of a network whose activations are made a second time in the backward pass, and not kept until then.

Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", 1604.06174. What a block keeps is its
input; the price is one more forward pass of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The outermost modules of a network whose class says `recomputed = True`."""
    if getattr(network, "recomputed", False) is True:
        return [network]
    return [block for child in network.children() for block in blocks_of(child)]


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """Inside the block, what `blocks_of` finds keeps its input alone where a gradient is wanted.

    Values and gradients are those of the network as it is: a second pass sees the random numbers and the buffers that
    the first one saw (the vectors of spectral norm), and changes none (BatchNorm's statistics).
    """
    blocks = blocks_of(network)
    for block in blocks:
        block.forward = _twice(block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # that of the class shows again


def _twice(block: nn.Module):
    forward = block.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        contexts = nullcontext(), _Before(block)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=lambda: contexts, **kwargs)

    return run


class _Before:
    """A context in which a module's buffers are copies of what they are now; it can be entered again."""

    def __init__(self, module: nn.Module):
        found = [(m._buffers, name) for m in module.modules() for name, b in m._buffers.items() if b is not None]
        self.buffers = [(owner, name, owner[name].clone()) for owner, name in found]

    def __enter__(self) -> None:
        self.present = [owner[name] for owner, name, _ in self.buffers]
        for owner, name, before in self.buffers:
            owner[name] = before.clone()

    def __exit__(self, *error: Any) -> None:
        for (owner, name, _), present in zip(self.buffers, self.present):
            owner[name] = present
