"""The autoencoder: the adaptive weight against gradients taken by hand, noise on latents by slot."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, Clips, numbers, quiet_trainer

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.autoencoder import Autoencoder
from vidiff.models.turn import Turn
from vidiff.nn.restorer import ResidualRestorer


def test_the_adaptive_weight_makes_both_gradients_of_the_last_layer_equally_long():
    batch = Clips().batch(0)
    weights = dict(adversarial_weight=0.3, feature_weight=0.2, **TINY)
    model, plain = Autoencoder(**weights), Autoencoder(adaptive=False, **weights)
    terms, alone = model.generator_losses(Turn(model, "g", batch)), plain.generator_losses(Turn(plain, "g", batch))
    last = model.generator.last
    judged = torch.autograd.grad(terms["adv"] + terms["features"], last, retain_graph=True)[0]
    pixel = torch.autograd.grad(terms["pixel"], last)[0]
    assert judged.norm().item() == pytest.approx(pixel.norm().item(), rel=1e-4)
    w = numbers(terms)["adv"] / numbers(alone)["adv"]
    assert abs(w - 1.0) > 0.01 and numbers(terms)["features"] == pytest.approx(w * numbers(alone)["features"], rel=1e-4)
    assert numbers(terms)["pixel"] == pytest.approx(numbers(alone)["pixel"], rel=1e-6)


def test_a_clip_passes_through_its_noisy_latents_and_noise_is_that_of_the_slot():
    model = Autoencoder(latent_noise=0.4, seed=5, **TINY)
    batch = Clips().batch(3)
    turn = Turn(model, "g", batch)
    latents = model.generator.encode(batch["clip"])
    assert latents.shape == (4, 16, 1, 4, 4)
    torch.testing.assert_close(latents.square().mean(1), torch.ones(4, 1, 4, 4), rtol=1e-3, atol=0)
    noise = keyed.normal(batch["slot"].tolist(), (16, 1, 4, 4), 5, "latent", *turn.draw)
    torch.testing.assert_close(model.fake_clips(turn), model.generator.decode(latents + 0.4 * noise))
    still = Autoencoder(latent_noise=0.0, seed=5, **TINY)
    torch.testing.assert_close(still.fake_clips(Turn(still, "g", batch)), still.generator(batch["clip"]))


def test_any_size_comes_back_and_the_average_encodes():
    model = Autoencoder(**TINY)
    clip = torch.rand(2, 3, 7, 18, 13) * 2 - 1
    assert model.generator(clip).shape == clip.shape
    assert model.encode(clip).shape == (2, 16, 2, 5, 4) == (2, *model.generator.latent_shape(7, 18, 13))
    assert model.decode(model.encode(clip)).shape == (2, 3, 8, 20, 16)
    assert torch.equal(model.encode(clip), model.generator_ema.module.encode(clip))


def test_it_learns_and_a_checkpoint_brings_it_back(tmp_path):
    model = Autoencoder(stages=[{"steps": 120, "players": ["g"]}, {"players": ["g", "d"]}], **TINY)
    waves = Waves()
    before = model.generator_losses(Turn(model, "g", waves.batch(0)))["pixel"].item()
    trainer = quiet_trainer(max_steps=124)
    trainer.fit(model, waves)
    after = model.generator_losses(Turn(model, "g", waves.batch(0)))["pixel"].item()
    assert after < 0.6 * before and "train/g_adaptive_weight" in model.terms
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    model.config = {"init_args": dict(TINY)}
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt", "cpu")
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    assert torch.equal(loaded.translate(clips, 0, 1), model.translate(clips, 0, 1)) and loaded.scale == 1


class Waves(Clips):
    """Clips of slow waves, which few numbers can hold."""

    def batch(self, index, rank=0, world=1):
        batch = super().batch(index, rank, world)
        at = torch.arange(16) / 16
        phase = keyed.normal(batch["slot"].tolist(), (3, 1, 1, 1), "phase")
        batch["clip"] = torch.sin(phase + 3 * (at[:, None] + at)).expand(-1, -1, 4, -1, -1).contiguous()
        return batch


def test_what_cannot_work_is_refused():
    with pytest.raises(UsageError, match="model.generator: ResidualRestorer has no latents"):
        Autoencoder(generator=lambda spec: ResidualRestorer(spec), **TINY)
    with pytest.raises(UsageError, match="model.latent_noise must be at least 0"):
        Autoencoder(latent_noise=-0.1, **TINY)
