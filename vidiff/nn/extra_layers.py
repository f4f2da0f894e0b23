"""Puts further layers (attention, a temporal encoder, residual blocks) into any network, from a YAML."""

from __future__ import annotations

from typing import Any, Callable

from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import NetworkFactory

PartFactory = Callable[[int], nn.Module]


class WithExtraLayers(nn.Module):
    """A network with a new part behind some of its layers; its attributes and methods are reached through this one.

    Several kinds of parts: nest it. A part that starts as the identity leaves the network as it was at the beginning.

    Args:
        spec: sizes.
        network: factory of the network.
        part: factory of a layer (B, C, T, H, W) -> the same shape, called with C: `SelfAttention`, `TemporalEncoder`,
            `ResidualBlock`.
        after: layers of the network by their path; a number may be negative and counts from the end, so that it fits
            every resolution: in `ConvGenerator`, `layers.-3` is the activation at half the resolution, `layers.-6` at
            a quarter; in `ConvDiscriminator`, `layers.-1` is the activation on the last, 4x4 grid.

    Raises:
        ValueError: no such layer, or no convolution at or before it, from which its number of channels is known.
    """

    def __init__(self, spec: ClipSpec, network: NetworkFactory, part: PartFactory, after: list[str]):
        super().__init__()
        self.network = network(spec)
        for path in after:
            parent, name = _resolve(self.network, path)
            channels = _channels_after(parent, name)
            if channels is None:
                raise ValueError(f"after={path}: {type(parent).__name__} has no convolution at or before this layer")
            setattr(parent, name, nn.Sequential(getattr(parent, name), part(channels)))

    def forward(self, *inputs: Any) -> Any:
        """The inputs and outputs of the network."""
        return self.network(*inputs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def _resolve(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The parent of a layer and the layer's name in it, with negative numbers made positive."""
    while isinstance(network, WithExtraLayers):
        network = network.network
    here, parent, name = network, network, ""
    for word in path.split("."):
        parent, names = here, list(dict(here.named_children()))
        from_the_end = word.startswith("-") and word[1:].isdigit() and int(word[1:]) <= len(names)
        name = names[int(word)] if from_the_end else word
        if name not in names:
            raise ValueError(f"after={path}: {type(parent).__name__} has no {word!r}; accepted: {', '.join(names)}")
        here = getattr(parent, name)
    return parent, name


def _channels_after(parent: nn.Module, name: str) -> int | None:
    """Channels that a layer gives: those of the last convolution in it, or in its siblings before it."""
    names = list(dict(parent.named_children()))
    for sibling in reversed(names[: names.index(name) + 1]):
        convs = [m for m in getattr(parent, sibling).modules() if isinstance(m, nn.modules.conv._ConvNd)]
        if convs:
            return convs[-1].out_channels
    return None
