"""Restoration: terms against formulas, two stages of one run, the same damage for both players, exact resume."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import TINY, Clips, child_environment, numbers, quiet_trainer
from lightning.pytorch import Callback

from vidiff.augment.degrade import GaussianNoise, Jpeg, LowResolution, MissingBlocks, OneOf, degrade
from vidiff.clip import signed_to_unit
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.dcgan import DCGAN
from vidiff.models.restoration import Restoration
from vidiff.models.restorer import restorer
from vidiff.models.turn import Turn
from vidiff.nn.discriminators import ConvDiscriminator

STAGES = [{"steps": 2, "players": ["g"]}, {"players": ["g", "d"]}]


def moved(model: Restoration) -> Restoration:
    """With a generator that is not the identity."""
    with torch.no_grad():
        model.generator.layers[-2].space.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return model


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


@pytest.mark.parametrize("conditional", [False, True])
def test_terms(conditional):
    weights = dict(pixel_weight=2.0, adversarial_weight=0.5, feature_weight=3.0, gamma=0.7)
    model = moved(Restoration(conditional=conditional, **weights, **TINY))
    batch = Clips().batch(0)
    turn = Turn(model, "g", batch)
    x, y = turn.real, model.damaged(turn)
    fake = model.generator(y)
    seen = (lambda clip: torch.cat([clip, y], 1)) if conditional else (lambda clip: clip)
    (real_logits, real_maps), (fake_logits, fake_maps) = (model.discriminator(seen(c)) for c in (x, fake))
    margins = (fake_logits - real_logits).flatten().tolist()
    apart = [((a - b).abs().sum() / b.abs().sum()).item() for a, b in zip(fake_maps, real_maps)]
    found = numbers(model.generator_losses(turn))
    assert found["pixel"] == pytest.approx(2.0 * (fake - x).abs().mean().item(), rel=1e-5)
    assert found["adv"] == pytest.approx(0.5 * sum(map(softplus, [-m for m in margins])) / len(margins), rel=1e-5)
    assert found["features"] == pytest.approx(3.0 * sum(apart) / len(apart), rel=1e-5)
    terms = model.discriminator_losses(Turn(model, "d", batch))
    assert numbers(terms)["adv"] == pytest.approx(sum(map(softplus, margins)) / len(margins), rel=1e-5)
    clip = x.clone().requires_grad_()
    logits = model.discriminator(seen(clip))[0]
    (gradient,) = torch.autograd.grad(logits.flatten(1).mean(1).sum(), clip)
    assert numbers(terms)["r1"] == pytest.approx(
        0.7 * 0.5 * float(gradient.square().flatten(1).sum(1).mean()), rel=1e-4
    )
    assert set(terms) == {"adv", "r1", "r2"}


def test_the_damage_is_that_of_the_slot_and_both_players_see_it():
    model = Restoration(seed=3, **TINY)
    batch = Clips().batch(2)
    first, second = model.damaged(Turn(model, "d", batch)), model.damaged(Turn(model, "g", batch))
    assert first is second
    wanted = degrade(signed_to_unit(batch["clip"]), model.degradations, batch["slot"].tolist(), 3, "degrade")
    assert torch.equal(signed_to_unit(first), signed_to_unit(wanted * 2 - 1))
    assert float((first - batch["clip"]).abs().mean()) > 0.01


def test_the_first_stage_trains_the_generator_alone_and_rates_fall_in_each():
    model = Restoration(stages=STAGES, lr_final=0.1, adversarial_rate=0.5, **TINY)
    start = [p.clone() for p in model.discriminator.parameters()]
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):
            still = all(torch.equal(a, b) for a, b in zip(start, model.discriminator.parameters()))
            terms = {k.removeprefix("train/g_") for k in model.terms if k.startswith("train/g_")}
            seen.append((still, "adv" in terms, {p: float(model.terms.get(f"train/lr_{p}", 0)) for p in "gd"}))

    quiet_trainer(max_steps=6, callbacks=[Watch()]).fit(model, Clips())
    assert [still for still, *_ in seen] == [True, True, False, False, False, False]
    assert [adv for _, adv, _ in seen] == [False, False, True, True, True, True]
    falling = lambda done: 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))  # noqa: E731
    expected = [2e-3 * falling(k / 2) for k in range(2)] + [1e-3 * falling(k / 4) for k in range(4)]
    assert [rates["g"] for *_, rates in seen] == pytest.approx(expected, rel=1e-5)
    assert [rates["d"] for *_, rates in seen[2:]] == pytest.approx([1e-3 * falling(k / 4) for k in range(4)], rel=1e-5)


def test_resume_is_exact_over_the_end_of_a_stage(tmp_path):
    def model():
        return Restoration(stages=STAGES, **TINY)

    class From(Clips):
        def train_dataloader(self):
            stream = super().train_dataloader()
            return _After(stream, self.first)

    whole = model()
    quiet_trainer(max_steps=4).fit(whole, Clips())
    trainer = quiet_trainer(max_steps=1)
    part = model()
    part.strategies.plan(4)
    trainer.fit(part, Clips())
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    rest, data = model(), From()
    data.first = 1
    quiet_trainer(max_steps=4).fit(rest, data, ckpt_path=tmp_path / "part.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name


class _After:
    def __init__(self, stream, first: int):
        self.stream, self.first = stream, first

    def __len__(self):
        return len(self.stream)

    def __iter__(self):
        return (b for i, b in enumerate(self.stream) if i >= self.first)


def test_scale_is_that_of_the_low_resolution_that_always_happens():
    scale = lambda *ops: Restoration(degradations=list(ops), **TINY).scale  # noqa: E731
    assert [scale(LowResolution(4)), scale(GaussianNoise(), LowResolution(2))] == [4, 2]
    assert [scale(LowResolution(2, p=0.5)), scale(OneOf([LowResolution(2)])), scale(MissingBlocks())] == [1, 1, 1]
    assert Restoration(**TINY).scale == 1


def test_the_damage_is_named_each_kind_once():
    named = lambda *ops: Restoration(degradations=list(ops), **TINY).undoes  # noqa: E731
    assert named(GaussianNoise(), MissingBlocks()) == "gaussian noise and missing blocks"
    assert named(OneOf([LowResolution(2), LowResolution(4), Jpeg()])) == "one of low resolution, jpeg"


def test_a_checkpoint_brings_its_degradations_back(tmp_path):
    model = moved(Restoration(degradations=[LowResolution(2)], **TINY))
    ops = [{"class_path": "vidiff.augment.degrade.LowResolution", "init_args": {"factor": 2, "p": 1.0}}]
    model.config = {"init_args": {"degradations": ops}}
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    loaded = load_model(tmp_path / "m.ckpt", "cpu")
    assert restorer(loaded).scale == 2 and loaded.domains == ["degraded", "clean"]
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    assert torch.equal(loaded.translate(clips, 0, 1), model.translate(clips, 0, 1))
    assert torch.equal(loaded.degrade(clips, [4, 5], "x"), model.degrade(clips, [4, 5], "x"))
    assert loaded.pair() == loaded.pair("restore") == loaded.pair(target="clean") == (0, 1)


def test_what_cannot_work_is_refused():
    with pytest.raises(UsageError, match="model.degradations is empty"):
        Restoration(degradations=[], **TINY)
    with pytest.raises(UsageError, match="model.degradations: ReLU is no degradation"):
        Restoration(degradations=[torch.nn.ReLU()], **TINY)
    with pytest.raises(UsageError, match="Restoration: the gradient penalty.*BatchNorm"):
        Restoration(discriminator=lambda spec: ConvDiscriminator(spec, norm="batch"), **TINY)
    with pytest.raises(UsageError, match="model.gamma must be at least 0"):
        Restoration(gamma=-1.0, **TINY)
    with pytest.raises(UsageError, match="no term 'sharp'.*g_pixel, g_adv, g_features"):
        quiet_trainer(max_steps=1).fit(Restoration(term_weights={"sharp": 2.0}, **TINY), Clips())
    with pytest.raises(UsageError, match="direction b2a: this model has restore"):
        Restoration(**TINY).pair("b2a")
    with pytest.raises(UsageError, match="target night: this model restores"):
        Restoration(**TINY).pair(target="night")
    with pytest.raises(UsageError, match="DCGAN does not restore videos"):
        restorer(DCGAN(**TINY))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Restoration", "Autoencoder"])
def test_two_processes_equal_one(tmp_path, family):
    worker = Path(__file__).with_name("restoration_worker.py")
    states = {}
    for world in (1, 2):
        command = [sys.executable, str(worker), str(tmp_path / f"{world}"), "--world", str(world), "--family", family]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        states[world] = [torch.load(tmp_path / f"{world}.{r}", weights_only=True) for r in range(world)]
    ((one,), (first, second)) = states[1], states[2]
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-9)
