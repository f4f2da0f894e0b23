"""Ensembles against hand-made means and choices."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.losses import standard_d
from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.nn.ensemble import DiscriminatorEnsemble, GeneratorEnsemble
from vidiff.nn.moco import MoCoGenerator

SPEC = ClipSpec(3, 4, 16, width=4, latent_dim=8, num_classes=2)
CLIPS, LABEL = torch.linspace(-1, 1, 2 * 3 * 4 * 16 * 16).view(2, 3, 4, 16, 16), torch.tensor([0, 1])


def member(spec):
    return ConvDiscriminator(spec, norm="none")


def test_terms_are_the_mean_of_the_members_games():
    torch.manual_seed(0)
    d = DiscriminatorEnsemble(SPEC, member, count=3)
    logits = d(CLIPS, LABEL)
    assert logits.shape == (2, 3)
    games = [standard_d(m(CLIPS, LABEL), m(-CLIPS, LABEL)) for m in d.members]
    for got, parts in zip(standard_d(logits, d(-CLIPS, LABEL)), zip(*games)):
        torch.testing.assert_close(got, torch.stack(parts).mean(), rtol=1e-6, atol=1e-7)
    assert len({m.head.weight.flatten()[0].item() for m in d.members}) == 3


def test_logits_are_one_discriminators():
    d = DiscriminatorEnsemble(SPEC, member, count=2, mean="logits")
    expected = 0.5 * (d.members[0](CLIPS, LABEL) + d.members[1](CLIPS, LABEL))
    torch.testing.assert_close(d(CLIPS, LABEL), expected, rtol=1e-6, atol=1e-7)
    alone = DiscriminatorEnsemble(SPEC, member, count=1)
    assert torch.equal(alone(CLIPS, LABEL)[:, 0], alone.members[0](CLIPS, LABEL))
    for bad in (dict(count=0), dict(mean="median")):
        with pytest.raises(UsageError):
            DiscriminatorEnsemble(SPEC, member, **bad)


def test_each_latent_belongs_to_one_generator():
    torch.manual_seed(0)
    g = GeneratorEnsemble(SPEC, count=3).eval()
    z, label = torch.randn(9, 8), torch.randint(2, (9,))
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor([1 / 3, 2 / 3]))
    assert torch.equal(g.choice(z), torch.bucketize(z[:, 0], quantiles))
    clips = g(z, label)
    for i, k in enumerate(g.choice(z).tolist()):
        torch.testing.assert_close(clips[i : i + 1], g.members[k](z[i : i + 1], label[i : i + 1]), rtol=1e-4, atol=1e-5)
    share = torch.bincount(g.choice(torch.randn(30_000, 8)), minlength=3) / 30_000
    assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert g.choice(torch.tensor([[40.0], [-40.0]])).tolist() == [2, 0]


def test_a_generator_learns_from_its_own_clips_alone():
    g = GeneratorEnsemble(ClipSpec(3, 4, 16, width=4, latent_dim=8), count=2).eval()
    z = torch.tensor([[-1.0] * 8, [1.0] * 8])
    g(z)[0].sum().backward()
    grads = [max(float(p.grad.abs().max()) for p in m.parameters()) for m in g.members]
    assert grads[0] > 0 and grads[1] == 0  # zero, not absent: every process has the same set of gradients


def test_sampling_mixes_whatever_the_batch_size():
    model = DCGAN(generator=lambda spec: GeneratorEnsemble(spec, count=2), **TINY).eval()
    whole, parts = model.sample(6, seed=3), model.sample(6, seed=3, batch_size=2)
    assert (whole.int() - parts.int()).abs().max() <= 1
    chosen = model.generator_ema.module.choice(model.latents(range(6), "sample", 3))
    assert set(chosen.tolist()) == {0, 1}
    moco = MoCoGAN(generator=lambda spec: GeneratorEnsemble(spec, lambda s: MoCoGenerator(s, 10)), **TINY).eval()
    assert moco.sample(2, num_frames=6).shape == (2, 3, 6, 16, 16)  # further inputs reach the members
