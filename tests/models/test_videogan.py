"""VideoGAN: the composition, a background that cannot move, the mask's penalty, parts as videos, any length."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, fakes_of, losses_of, numbers, quiet_trainer

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.videogan import TwoStreamGenerator, VideoGAN


@pytest.mark.parametrize("temporal", ["conv", "lstm"])
def test_background_is_static_and_the_parts_make_the_clip(temporal):
    model = VideoGAN(temporal=temporal, num_classes=2, **TINY).eval()
    quiet_trainer(max_steps=3).fit(model, Clips(num_classes=2))
    parts = model.parts(3, seed=5, labels=[0, 1])
    assert parts["background"].shape == parts["foreground"].shape == (3, 3, 4, 16, 16)
    assert parts["mask"].shape == (3, 1, 4, 16, 16) and parts["cutout"].shape == (3, 4, 4, 16, 16)
    assert (parts["background"] == parts["background"][:, :, :1]).all()
    assert not (parts["foreground"] == parts["foreground"][:, :, :1]).all()
    m = parts["mask"].float() / 255
    expected = m * parts["foreground"].float() + (1 - m) * parts["background"].float()
    assert (model.sample(3, seed=5, labels=[0, 1]).float() - expected).abs().max() < 2.5  # three roundings


@pytest.mark.parametrize("temporal", ["conv", "lstm"])
def test_terms(temporal):
    model = VideoGAN(temporal=temporal, mask_weight=0.3, **TINY).double()
    batch = Clips().batch(0)
    batch["clip"] = batch["clip"].double()
    got = numbers(losses_of(model, "g", batch))
    background, foreground, mask = model.generator.parts(model.latents(batch["slot"].tolist(), "g", 0))
    clip = background + mask * (foreground - background)
    logits = model.discriminator(clip).tolist()
    assert got["adv"] == pytest.approx(sum(math.log1p(math.exp(-x)) for x in logits) / 4, abs=1e-6)
    assert got["mask"] == pytest.approx(0.3 * float(mask.detach().abs().sum()) / mask.numel(), abs=1e-6)
    got = numbers(losses_of(model, "d", batch))
    real = model.discriminator(batch["clip"]).tolist()
    fake = model.discriminator(fakes_of(model, "d", batch)).tolist()
    assert got["real"] == pytest.approx(sum(math.log1p(math.exp(-x)) for x in real) / 4, abs=1e-6)
    assert got["fake"] == pytest.approx(sum(math.log1p(math.exp(x)) for x in fake) / 4, abs=1e-6)


def test_lstm_makes_any_length_and_conv_says_that_it_cannot():
    model = VideoGAN(temporal="lstm", **TINY).eval()
    long, short = model.sample(2, num_frames=9), model.sample(2)
    assert long.shape[2] == 9 and short.shape[2] == 4
    assert (long[:, :, :4].int() - short.int()).abs().max() <= 1
    with pytest.raises(UsageError, match="exactly 4 frames"):
        VideoGAN(**TINY).sample(1, num_frames=9)
    with pytest.raises(UsageError, match="conv or lstm"):
        VideoGAN(temporal="gru", **TINY)


@pytest.mark.parametrize("temporal", ["conv", "lstm"])
@pytest.mark.parametrize("frames, resolution", [(1, 16), (7, 16), (16, 32)])
def test_sizes(temporal, frames, resolution):
    spec = ClipSpec(3, frames, resolution, width=2, latent_dim=4)
    background, foreground, mask = TwoStreamGenerator(spec, temporal).parts(torch.randn(2, 4))
    assert background.shape == (2, 3, 1, resolution, resolution)
    assert foreground.shape == (2, 3, frames, resolution, resolution)
    assert mask.shape == (2, 1, frames, resolution, resolution)
    assert 0.3 < float(mask.detach().mean()) < 0.7  # neither stream is switched off before training


def test_the_mask_weight_makes_the_mask_sparse():
    means = {}
    for weight in (0.0, 50.0):
        fast = lambda p: torch.optim.Adam(p, lr=1e-2)  # noqa: E731
        model = VideoGAN(mask_weight=weight, optimizer_g=fast, **TINY)
        quiet_trainer(max_steps=25).fit(model, Clips())
        means[weight] = float(model.terms["train/g_mask_mean"])
    assert means[50.0] < 0.5 * means[0.0]
