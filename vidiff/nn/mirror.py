"""The discriminator that mirrors a generator: the same stages in reverse order, the same widths, the same parts."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, Init, LeakyReLU, NetworkFactory, Norm, initialize, norm_layer


class MirrorDiscriminator(nn.Module):
    """Every transposed convolution a -> b of a generator as a convolution b -> a of the same kernel and stride.

    Behind each: a norm (not behind the first) and a leaky ReLU, then what the generator has behind its activation on
    that grid (attention, residual blocks: see `vidiff.nn.extra_layers.WithExtraLayers`), with weights of its own. The
    generator's first layer becomes the head. Surplus frames, which a generator crops, are the last frame repeated. With
    classes there is a projection term, as in `ConvDiscriminator`.

    Args:
        spec: sizes.
        generator: factory of the generator that is mirrored; one with its stages in `layers`, like `ConvGenerator`.
            None = that of the model, which calls `mirror`.
        norm, init: as in `ConvDiscriminator`.

    Raises:
        ValueError: the generator is no such chain.
    """

    def __init__(
        self,
        spec: ClipSpec,
        generator: NetworkFactory | None = None,
        norm: Norm = "batch",
        init: Init = "dcgan",
    ):
        super().__init__()
        self.spec, self.norm, self.init, self.head = spec, norm, init, None
        if generator is not None:
            self.mirror(generator(spec))

    def mirror(self, generator: nn.Module) -> None:
        """Build the layers that mirror this generator."""
        spec, norm, init = self.spec, self.norm, self.init
        chain, parts = _stages(generator)
        layers: list[nn.Module] = []
        for up, part in reversed(list(zip(chain[1:], parts))):  # what is behind the activation that `up` starts from
            normed = up is not chain[-1] and norm != "none"
            sizes = (up.kernel_size, up.stride, up.padding)
            conv = nn.Conv3d(up.out_channels, up.in_channels, *sizes, bias=not normed)
            stage = [conv, norm_layer(norm, up.in_channels), LeakyReLU(0.2)] if normed else [conv, LeakyReLU(0.2)]
            initialize(nn.ModuleList(stage), init)  # the parts bring their initialisation along
            layers += [*stage, *map(copy.deepcopy, reversed(part))]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv3d(chain[0].out_channels, 1, chain[0].kernel_size)
        self.embed = ClassEmbedding(spec.num_classes, chain[0].out_channels) if spec.num_classes else None
        initialize(self.head, init)
        t = chain[0].kernel_size[0]
        for up in chain[1:]:
            t = (t - 1) * up.stride[0] - 2 * up.padding[0] + up.kernel_size[0]
        self.num_frames = t  # before the generator crops

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], label (B,) or None -> logits (B,)."""
        missing = self.num_frames - clip.shape[2]
        if missing:
            clip = torch.cat([clip, clip[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)
        features = self.layers(clip)  # (B, D, t, 4, 4)
        logits = self.head(features).flatten()  # (B, 1, 1, 1, 1) -> (B,)
        if self.embed is not None:
            logits = logits + (self.embed(label) * features.mean((2, 3, 4))).sum(1)
        return logits


def mirror_all(discriminator: nn.Module, generator: nn.Module) -> None:
    """Build the parts of a discriminator that mirror the generator of the model and have none of their own."""
    for part in list(discriminator.modules()):  # mirroring adds to them
        if isinstance(part, MirrorDiscriminator) and part.head is None:
            part.mirror(generator)


def _stages(generator: nn.Module) -> tuple[list[nn.ConvTranspose3d], list[list[nn.Module]]]:
    """The transposed convolutions of a generator's `layers`, and the parts behind the activation of each."""
    chain: list[nn.ConvTranspose3d] = []
    parts: list[list[nn.Module]] = []
    for layer in getattr(generator, "layers", []):
        if isinstance(layer, nn.ConvTranspose3d):
            chain.append(layer)
            parts.append([])
        elif isinstance(layer, nn.Sequential):  # an activation and what was put behind it
            parts[-1] += _flat(layer)[1:]
        elif any(True for _ in layer.parameters()) and not isinstance(
            layer, nn.BatchNorm3d | nn.GroupNorm | nn.InstanceNorm3d
        ):
            chain = []
            break
    if len(chain) < 2 or any(a.out_channels != b.in_channels for a, b in zip(chain, chain[1:])):
        raise ValueError(f"{type(generator).__name__} has no plain chain of stages in `layers` that could be mirrored")
    return chain, parts


def _flat(layers: nn.Sequential) -> list[nn.Module]:
    """The modules of nested Sequentials of layer and part, outermost part last."""
    first, *others = layers
    return [*(_flat(first) if isinstance(first, nn.Sequential) else [first]), *others]
