"""Progressive growing: continuity of the fade, the schedule, exact resume inside a fade, the loss terms."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, losses_of, numbers, quiet_trainer

from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.pggan import PGGAN


def test_schedule():
    model = PGGAN(fade_clips=10, stable_clips=20, **{**TINY, "resolution": 32})
    clips = [0, 20, 25, 30, 49, 50, 55, 60, 85, 90, 10**9]
    assert [model.level(c) for c in clips] == pytest.approx([0, 0, 0.5, 1, 1, 1, 1.5, 2, 2.5, 3, 3])
    for bad in (dict(fade_clips=0), dict(stable_clips=-1)):
        with pytest.raises(UsageError, match="clips"):
            PGGAN(**bad, **TINY)


def test_terms_inside_a_fade():
    model = PGGAN(fade_clips=8, stable_clips=4, r1_gamma=3.0, **TINY).double()
    batch = Clips().batch(0)
    batch["clip"] = batch["clip"].double()
    model.batches_seen = 2  # 8 clips seen: half-way into stage 1
    model.before_batch(batch)
    terms = numbers(losses_of(model, "d", batch))
    g, d = model.generator, model.discriminator
    assert g.position() == d.position() == (1, 0.5)
    real = batch["clip"].unflatten(3, (8, 2)).unflatten(5, (8, 2)).mean((4, 6))[:, :, :: 2 if g.times[2] else 1]
    small = real.unflatten(3, (4, 2)).unflatten(5, (4, 2)).mean((4, 6))[:, :, :: 2 if g.times[1] else 1]
    for axis, n in ((2, real.shape[2] // small.shape[2]), (3, 2), (4, 2)):
        small = small.repeat_interleave(n, axis)
    mixed = (0.5 * real + 0.5 * small).requires_grad_(True)
    logits = d.logits_at(mixed, None, 1, 0.5)
    (gradient,) = torch.autograd.grad(logits.sum(), mixed)
    assert terms["r1"] == pytest.approx(3.0 / 2 * float(gradient.square().sum()) / 4, rel=1e-6, abs=1e-6)
    assert terms["real"] == pytest.approx(sum(math.log1p(math.exp(-x)) for x in logits.tolist()) / 4, abs=1e-6)
    fake = d.logits_at(g.render(model.latents(batch["slot"].tolist(), "d", 0), None, 1, 0.5), None, 1, 0.5).tolist()
    assert terms["fake"] == pytest.approx(sum(math.log1p(math.exp(x)) for x in fake) / 4, abs=1e-6)
    fake = d.logits_at(g.render(model.latents(batch["slot"].tolist(), "g", 0), None, 1, 0.5), None, 1, 0.5).tolist()
    adv = numbers(losses_of(model, "g", batch))["adv"]
    assert adv == pytest.approx(sum(math.log1p(math.exp(-x)) for x in fake) / 4, abs=1e-6)


def test_it_grows_while_the_generator_trains_alone():
    model = PGGAN(fade_clips=8, stable_clips=4, stages=[{"players": ["g"]}], **TINY)
    quiet_trainer(max_steps=4).fit(model, Clips())
    assert float(model.terms["train/level"]) == model.level(3 * 4) > 0
    assert model.generator.position() == model.discriminator.position()


def test_resume_inside_a_fade(tmp_path):
    """Stopped half-way through a fade and continued, the weights are those of the uninterrupted run."""
    make = lambda: PGGAN(fade_clips=12, stable_clips=4, **TINY)  # noqa: E731
    straight = make()
    quiet_trainer(max_steps=6).fit(straight, Clips())
    first = make()
    trainer = quiet_trainer(max_steps=3)
    trainer.fit(first, Clips())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    stage, alpha = first.generator.position()
    assert stage == 1 and 0 < alpha < 1 and float(first.generator_ema.module.level) == float(first.generator.level)
    loaded = load_model(tmp_path / "a.ckpt")
    assert torch.equal(loaded.sample(2), first.sample(2)) and loaded.generator.position() == (stage, alpha)

    class Rest(Clips):
        def batch(self, index, rank=0, world=1):
            return super().batch(index + 3, rank, world)

    second = make()
    trainer = quiet_trainer(max_steps=6)
    trainer.fit(second, Rest(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert second.generator.position() == straight.generator.position()
    for (name, a), b in zip(straight.state_dict().items(), second.state_dict().values()):
        assert torch.equal(a, b), name


def test_stages_can_be_looked_at():
    model = PGGAN(**TINY).eval()
    model.generator_ema.module.level.fill_(2.0)
    kinds = [torch.cat([c for _, c in model.iter_samples(range(2), stage=s)]) for s in range(3)]
    assert torch.equal(kinds[2], model.sample(2)) and not torch.equal(kinds[0], kinds[2])
    blocks = kinds[0].unflatten(3, (4, 4)).unflatten(5, (4, 4))
    assert (blocks == blocks[:, :, :, :, :1, :, :1]).all()  # 4x4 pixels of 4x4 each
    with pytest.raises(UsageError, match="from 0 to 2"):
        model.generate([0], stage=3)
