"""The discriminators of the toolbox: sizes, one identity each, and second derivatives where penalties need them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.models.dcgan import DCGAN
from vidiff.nn.attention import SelfAttention
from vidiff.nn.branches import BranchDiscriminator
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.extra_layers import WithExtraLayers
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.heads import HeadedDiscriminator
from vidiff.nn.mirror import MirrorDiscriminator
from vidiff.nn.multiscale import PyramidDiscriminator
from vidiff.nn.r3 import R3Generator, ResidualBlock
from vidiff.nn.unet import UNetDiscriminator
from vidiff.penalties import gradient_penalty, logits_and_penalty

SMALL = ClipSpec(3, 6, 16, width=4, latent_dim=4)
LAYER = partial(ConvDiscriminator, norm="layer")
ALL = {
    "fc": partial(ConvDiscriminator, norm="layer", head="fc"),
    "minibatch_std": partial(ConvDiscriminator, norm="layer", minibatch_std=True),
    "pyramid": partial(PyramidDiscriminator, discriminator=LAYER),
    "unet": partial(UNetDiscriminator, norm="layer"),
    "mirror": partial(MirrorDiscriminator, generator=ConvGenerator, norm="layer"),
    "branches_space": partial(BranchDiscriminator, norm="layer", over="space"),
    "branches_time": partial(BranchDiscriminator, norm="layer", over="time"),
    "equipped": partial(WithExtraLayers, network=LAYER, part=partial(ResidualBlock, depth=1), after=["layers.-1"]),
}


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


@pytest.mark.parametrize("frames, resolution", [(1, 16), (3, 16), (7, 32), (16, 16), (5, 64)])
@pytest.mark.parametrize("name", ALL)
def test_sizes(name, frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=2, latent_dim=4)
    if name == "branches_time" and frames != 16:  # 3 and 7 frames leave 1 on the last grid
        with pytest.raises(ValueError, match="1 frames, which 2 branches cannot share"):
            ALL[name](spec)(clips(spec))
        return
    scales = dict(scales=[(1, 1), (2, 1)]) if name == "pyramid" and frames == 1 else {}
    discriminator = ALL[name](spec, **scales)
    logits = discriminator(clips(spec))
    assert logits.shape == ((2, 2 * frames * resolution**2) if name == "unet" else (2,))
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_penalties_differentiate_twice(name):
    """Every weight moves under the loss and a gradient penalty together, and the penalty is not flat."""
    torch.manual_seed(0)
    spec = ClipSpec(3, 8, 16, width=4, latent_dim=4)
    discriminator = ALL[name](spec)
    with torch.no_grad():
        for p in discriminator.parameters():  # away from zero: parts begin as the identity
            p.add_(0.1 * torch.randn_like(p))
    real, fake = clips(spec, 4), clips(spec, 4)
    logits, r1 = logits_and_penalty(discriminator, real)
    gp = gradient_penalty(discriminator, real, fake, torch.rand(4))
    (from_penalty,) = torch.autograd.grad(r1, next(discriminator.parameters()), retain_graph=True)
    assert float(from_penalty.abs().max()) > 0
    (logits.square().mean() + r1 + gp).backward()
    for key, p in discriminator.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), key


def test_the_default_discriminator_is_what_it_was():
    keys = set(ConvDiscriminator(SMALL, norm="none").state_dict())
    assert keys == {f"{layer}.{what}" for layer in ("layers.0", "layers.2", "head") for what in ("weight", "bias")}


def test_fc_head_formula():
    d = ConvDiscriminator(SMALL, norm="layer", head="fc").double()
    x = clips(SMALL).double()
    _, first, _, second = d.head
    flat = d.layers(x).reshape(2, -1)
    hidden = flat @ first.weight.T + first.bias
    expected = torch.where(hidden > 0, hidden, 0.2 * hidden) @ second.weight[0] + second.bias
    torch.testing.assert_close(d(x), expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="conv or fc"):
        ConvDiscriminator(SMALL, head="linear")


def test_minibatch_std_sees_the_others():
    """A clip among its copies is judged as alone; among others it is not, though the norm is per clip."""
    d = ConvDiscriminator(SMALL, norm="layer", minibatch_std=True, init="kaiming")
    one, other = clips(SMALL, 1), clips(SMALL, 3)
    alone = d(one).detach()
    torch.testing.assert_close(d(one.repeat(4, 1, 1, 1, 1)), alone.expand(4), rtol=0, atol=1e-5)
    assert not torch.allclose(d(torch.cat([one, other]))[0], alone, atol=1e-4)


def test_projection_term():
    """The label changes the logit by <e(a) - e(b), mean features>."""
    d = ConvDiscriminator(ClipSpec(3, 4, 16, width=4, num_classes=3), norm="layer")
    x = clips(d.spec)
    a, b = torch.tensor([0, 1]), torch.tensor([2, 2])
    e = d.embed.table.weight
    expected = torch.stack([(e[i] - e[j]) @ f for i, j, f in zip(a, b, d.layers(x).flatten(2).mean(2))])
    torch.testing.assert_close(d(x, a) - d(x, b), expected, rtol=0, atol=1e-5)


def test_pyramid_is_the_mean_of_its_parts():
    d = PyramidDiscriminator(SMALL, scales=[(1, 1), (2, 1), (1, 2), (2, 3)], discriminator=LAYER)
    x = clips(SMALL)
    parts = [
        d.parts[0](x),
        d.parts[1](F.avg_pool3d(x, (1, 2, 2))),
        d.parts[2](x[:, :, [0, 2, 4]]),
        d.parts[3](F.avg_pool3d(x[:, :, [0, 3]], (1, 2, 2))),
    ]
    torch.testing.assert_close(d(x), sum(parts) / 4, rtol=0, atol=1e-5)
    for bad in [(3, 1), (1, 7), (0, 1)]:
        with pytest.raises(ValueError, match="does not fit"):
            PyramidDiscriminator(SMALL, scales=[bad])


@pytest.mark.parametrize("frames", [1, 5, 6])
def test_unet_weighs_the_clip_and_the_pixels_by_half(frames):
    spec = ClipSpec(3, frames, 16, width=4)
    d, x = UNetDiscriminator(spec, norm="layer", init="kaiming"), clips(spec)
    whole, pixels = d.both(x)
    assert whole.shape == (2,) and pixels.shape == (2, frames, 16, 16)
    torch.testing.assert_close(whole, d.encoder(x))
    loss = F.softplus(d(x)).mean()
    torch.testing.assert_close(loss, 0.5 * F.softplus(whole).mean() + 0.5 * F.softplus(pixels).mean())


def test_unet_pixels_judge_where_something_is():
    """A change in one corner moves that corner's logits more than those of the far one, by the skipping features."""
    torch.manual_seed(0)
    spec = ClipSpec(3, 4, 32, width=4)
    d, x = UNetDiscriminator(spec, norm="none", init="kaiming"), clips(spec, 1)
    changed = x.clone()
    changed[..., :4, :4] = -changed[..., :4, :4]
    moved = (d.both(changed)[1] - d.both(x)[1]).abs()
    assert moved[..., :4, :4].mean() > 5 * moved[..., -4:, -4:].mean()


@pytest.mark.parametrize("build", [partial(ConvDiscriminator, head="fc"), UNetDiscriminator, HeadedDiscriminator])
def test_spectral_norm_of_every_layer(build):
    torch.manual_seed(0)
    spec = ClipSpec(3, 4, 16, width=4, num_classes=3)
    d = build(spec, norm="none", spectral=True)
    assert not any("original" in k and "parametrizations" not in k for k in d.state_dict())
    for _ in range(40):
        d(clips(spec), torch.tensor([0, 1]))
    d.eval()
    layers = [m for m in d.modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear)]
    assert len(layers) >= 4
    for layer in layers:
        w = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose3d) else layer.weight
        assert float(torch.linalg.matrix_norm(w.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


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


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
@pytest.mark.parametrize("over", ["time", "space"])
def test_branches_side_by_side_are_the_branches_one_by_one(norm, over):
    spec = ClipSpec(3, 8, 16, width=4)
    d = BranchDiscriminator(spec, norm=norm, over=over)
    x = d.layers[:2](clips(spec))
    torch.testing.assert_close(d.layers[2](x), d.layers[2].sequential(x), rtol=0, atol=1e-5)


def test_heads():
    spec = ClipSpec(3, 4, 16, width=4, num_classes=3)
    d = HeadedDiscriminator(spec, norm="layer", numbers=["speed"])
    logits, said = d(clips(spec), torch.tensor([0, 1]))
    assert logits.shape == (2,) and said["class"].shape == (2, 3) and said["speed"].shape == (2,)
    assert d.embed is None  # it is not told what it has to find
    assert HeadedDiscriminator(spec, classes=False, numbers=["speed"]).embed is not None
    with pytest.raises(ValueError, match="num_classes"):
        HeadedDiscriminator(SMALL)
    with pytest.raises(ValueError, match="at least one"):
        HeadedDiscriminator(spec, classes=False)
