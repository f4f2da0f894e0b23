"""The mirrored discriminator: the generator's widths and parts."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.models.dcgan import DCGAN
from vidiff.nn.attention import SelfAttention
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.extra_layers import WithExtraLayers
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.mirror import MirrorDiscriminator
from vidiff.nn.r3 import R3Generator, ResidualBlock


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


@pytest.mark.parametrize("frames", [4, 7, 16])
def test_mirror_has_the_generators_widths(frames):
    spec = ClipSpec(3, frames, 32, width=4, latent_dim=4)
    generator, mirror = ConvGenerator(spec), MirrorDiscriminator(spec, ConvGenerator)
    ups = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose3d)]
    downs = [m for m in mirror.layers if isinstance(m, nn.Conv3d)]
    expected = [(m.out_channels, m.in_channels, m.kernel_size, m.stride) for m in reversed(ups[1:])]
    assert [(m.in_channels, m.out_channels, m.kernel_size, m.stride) for m in downs] == expected
    assert mirror.head.kernel_size == ups[0].kernel_size and mirror.head.in_channels == ups[0].out_channels
    if frames in (4, 16):  # nothing is cropped: it is the discriminator that DCGAN has anyway
        plain = ConvDiscriminator(spec)
        assert [p.shape for p in mirror.parameters()] == [p.shape for p in plain.parameters()]
        mirror.load_state_dict(plain.state_dict())
        x = clips(spec)
        torch.testing.assert_close(mirror(x), plain(x))


def test_mirror_has_the_generators_parts():
    """Attention behind the same grid, and two parts on one grid in reverse order."""
    spec = ClipSpec(3, 8, 32, width=4, latent_dim=4)
    inner = partial(WithExtraLayers, network=ConvGenerator, part=partial(ResidualBlock, depth=1), after=["layers.-6"])
    outer = partial(WithExtraLayers, network=inner, part=partial(SelfAttention, over="space"), after=["layers.-6"])
    mirror = MirrorDiscriminator(spec, generator=outer)
    kinds = [type(m).__name__ for m in mirror.layers]
    conv, norm, act = "Conv3d", "BatchNorm3d", "LeakyReLU"
    assert kinds == [conv, act, conv, norm, act, "SelfAttention", "ResidualBlock", conv, norm, act]
    grids = []
    mirror.layers[5].register_forward_hook(lambda m, args, out: grids.append(tuple(out.shape[1:])))
    assert mirror(clips(spec)).shape == (2,) and grids == [(8, 2, 8, 8)]
    with pytest.raises(ValueError, match="R3Generator"):
        MirrorDiscriminator(spec, generator=R3Generator)


def test_mirror_without_a_generator_mirrors_the_models():
    """With copies of its parts: training one does not change the other."""
    generator = partial(
        WithExtraLayers, network=ConvGenerator, part=partial(ResidualBlock, depth=1), after=["layers.-6"]
    )
    sizes = dict(num_frames=8, resolution=32, width=4)
    model = DCGAN(generator=generator, discriminator=MirrorDiscriminator, **sizes)
    kinds = [type(m).__name__ for m in model.discriminator.layers]
    assert kinds == [type(m).__name__ for m in MirrorDiscriminator(model.spec, generator).layers]
    assert "ResidualBlock" in kinds
    mine, its = ({id(p) for p in n.parameters()} for n in (model.generator, model.discriminator))
    assert not mine & its
    assert model.discriminator(clips(model.spec)).shape == (2,)
    plain = DCGAN(generator=generator, **sizes)
    assert [p.shape for p in plain.discriminator.parameters()] != [p.shape for p in model.discriminator.parameters()]
