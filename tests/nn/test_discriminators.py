"""Discriminators: sizes, heads, projection, and second derivatives where penalties need them, those with parts too."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.branches import BranchDiscriminator
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.extra_layers import WithExtraLayers
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.heads import HeadedDiscriminator
from vidiff.nn.mirror import MirrorDiscriminator
from vidiff.nn.multiscale import PyramidDiscriminator
from vidiff.nn.r3 import ResidualBlock
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
