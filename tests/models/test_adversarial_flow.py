"""Adversarial flow: its terms against plain formulas, its stages, the fall of the transport cost, its teacher."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, double, losses_of, numbers, quiet_trainer, tokenizer
from lightning.pytorch import Callback
from torch import nn

from vidiff import keyed
from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.adversarial_flow import AdversarialFlow
from vidiff.models.flow import FlowMatching, spread_times
from vidiff.models.latents import take_tokenizer
from vidiff.models.turn import Turn
from vidiff.nn.autoencoder import ClipAutoencoder
from vidiff.nn.flow_unet import FlowDiscriminator, FlowUNet3d

ALONE, GAME = {"players": ["g"]}, {"players": ["g", "d"]}
MATCH = ALONE | {"weights": {"fm": 0.0, "match": 1.0}}


def awake(model):
    """Weights instead of zeros."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator.parameters():
            nn.init.normal_(p, 0.0, 0.1)
    model.generator_ema.module.load_state_dict(model.generator.state_dict())
    return model


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def test_the_game_by_hand():
    model, batch = double(
        awake(AdversarialFlow(**TINY, r1_gamma=3.0, centre_weight=0.5, penalty_sigma=0.1, ot_start=0.2))
    )
    with torch.no_grad():
        fake = {p: Turn(model, p, batch).fake() for p in "gd"}
        logits = {p: model.discriminator(x).tolist() for p, x in fake.items()}
        real = model.discriminator(batch["clip"]).tolist()
    terms = numbers(losses_of(model, "d", batch))
    assert terms["adv"] == pytest.approx(sum(softplus(f - r) for r, f in zip(real, logits["d"])) / 4, rel=1e-6)
    assert terms["centre"] == pytest.approx(0.5 * sum((r + f) ** 2 for r, f in zip(real, logits["d"])) / 4, rel=1e-6)
    for name, side, clips, d in (("r1", "real", batch["clip"], real), ("r2", "fake", fake["d"], logits["d"])):
        noise = keyed.normal([0], clips.shape[1:], model.seed, "penalty", side).double()
        with torch.no_grad():
            near = float(model.discriminator(clips[:1] + 0.1 * noise))
        assert terms[name] == pytest.approx(3.0 * 0.5 * ((near - d[0]) / 0.1) ** 2, rel=1e-6)  # of four samples one
    terms = numbers(losses_of(model, "g", batch))
    z = Turn(model, "g", batch).latents()
    with torch.no_grad():
        assert torch.equal(fake["g"], z + model.generator.network(z, torch.zeros(4).double()))
    assert terms["adv"] == pytest.approx(sum(softplus(r - f) for r, f in zip(real, logits["g"])) / 4, rel=1e-6)
    assert terms["ot"] == pytest.approx(0.2 * float((fake["g"] - z).square().mean()), rel=1e-6)


def test_one_step_is_what_it_samples():
    model = awake(AdversarialFlow(**TINY)).eval()
    z = model.latents(range(2), "sample", 0)
    with torch.no_grad():
        torch.testing.assert_close(model.generator(z), z + model.generator.network(z, torch.zeros(2)))
    assert model.sample(2).shape == (2, 3, 4, 16, 16)


class Told(Callback):
    """What was logged of each step, and what G's rate was."""

    def __init__(self):
        self.terms, self.flows = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.terms.append(dict(module.terms))
        self.flows.append([p.clone() for p in module.flow.parameters()])


def told(stages, steps, **more) -> Told:
    found = Told()
    model = AdversarialFlow(**TINY, match_steps=2, stages=stages, **more)
    quiet_trainer(max_steps=steps, callbacks=[found]).fit(model, Clips())
    return found


def names(terms) -> set[str]:
    return {k.split("/")[1] for k in terms if k.split("_")[-1] in ("fm", "match", "adv", "ot", "r1")}


def test_three_trainings_by_stages():
    stages = [{"steps": 2, **ALONE}, {"steps": 2, **MATCH}, GAME]
    found = told(stages, 6, adversarial_rate=0.5)
    assert [names(t) for t in found.terms[:4]] == [{"g_fm"}] * 2 + [{"g_match"}] * 2
    assert names(found.terms[4]) == {"g_adv", "g_ot", "d_adv", "d_r1"}
    assert [float(t["train/lr_g"]) for t in found.terms] == pytest.approx([2e-3] * 4 + [1e-3] * 2)
    same = [all(map(torch.equal, a, b)) for a, b in zip(found.flows, found.flows[1:])]
    assert same == [False, True, True, True, True]  # what is matched stands still
    scratch = told(None, 2, adversarial_rate=0.5)
    assert names(scratch.terms[0]) == {"g_adv", "g_ot", "d_adv", "d_r1"}
    assert float(scratch.terms[0]["train/lr_g"]) == pytest.approx(2e-3)


def test_the_flow_and_the_match_by_hand():
    for stages, name in (([ALONE], "fm"), ([MATCH], "match")):
        model, batch = double(awake(AdversarialFlow(**TINY, match_steps=3, stages=stages)))
        for p in model.flow.parameters():
            nn.init.normal_(p, 0.0, 0.1)
        z = Turn(model, "g", batch).latents()
        (term,) = losses_of(model, "g", batch).items() if model.step == 0 else ()
        with torch.no_grad():
            if name == "fm":
                t = spread_times(range(4), model.seed)[:, None, None, None, None]
                v = model.generator.network((1 - t) * z + t * batch["clip"], t.flatten())
                wanted = (v - batch["clip"] + z).square().mean()
            else:
                x = z
                for i in range(3):
                    x = x + model.flow.network(x, torch.full((4,), i / 3).double()) / 3
                wanted = (z + model.generator.network(z, torch.zeros(4).double()) - x).square().mean()
        assert term[0] == name and float(term[1].detach()) == pytest.approx(float(wanted), rel=1e-6)


def test_the_transport_cost_falls_by_half_a_cosine():
    found = told([{"steps": 1, **ALONE}, GAME], 6, ot_start=0.2, ot_final=0.04, ot_steps=4)
    weights = [float(t["train/g_ot_weight"]) for t in found.terms[1:]]
    assert weights == pytest.approx([0.04 + 0.16 * 0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(5)])
    for t in found.terms[1:]:
        assert float(t["train/g_ot"]) == pytest.approx(float(t["train/g_ot_weight"] * t["train/g_moved"]), rel=1e-5)


def saved(tmp_path, model) -> str:
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / f"{type(model).__name__}.ckpt")
    return str(tmp_path / f"{type(model).__name__}.ckpt")


def test_a_flow_is_what_it_begins_with(tmp_path):
    flow = awake(FlowMatching(**TINY, rho=0.5, sampling_steps=1)).eval()
    path = saved(tmp_path, flow)
    student = AdversarialFlow(**TINY, teacher=path)
    assert not torch.equal(student.sample(2), flow.sample(2))  # not before a training begins
    quiet_trainer(max_steps=0).fit(student, Clips())
    assert torch.equal(student.sample(2), flow.sample(2)) and torch.equal(student.sample(2, ema=False), flow.sample(2))
    again = saved(tmp_path, student)
    (tmp_path / "FlowMatching.ckpt").unlink()
    assert torch.equal(load_model(again, "cpu").sample(2), flow.sample(2))  # needs no teacher


def test_a_late_phase_begins_with_an_average_and_an_earlier_critic(tmp_path):
    """G is the average of a student, D that of another checkpoint, and neither file is looked for afterwards."""
    late = saved(tmp_path, awake(AdversarialFlow(**TINY)).eval())
    early = awake(AdversarialFlow(**TINY | {"seed": 9}))
    (tmp_path / "early").mkdir()
    path = saved(tmp_path / "early", early)
    model = AdversarialFlow(**TINY, teacher=late, critic=path)
    quiet_trainer(max_steps=0).fit(model, Clips())
    average = load_model(late, "cpu").generator_ema.module.state_dict()
    for now, wanted in ((model.generator, average), (model.discriminator, early.discriminator.state_dict())):
        assert all(torch.equal(weight, wanted[name]) for name, weight in now.state_dict().items())
    with pytest.raises(UsageError, match="model.critic .*its discriminator is another one"):
        other = saved(tmp_path, FlowMatching(**TINY))
        quiet_trainer(max_steps=0).fit(AdversarialFlow(**TINY, critic=other), Clips())


def test_teachers_that_cannot_be(tmp_path):
    (tmp_path / "no.ckpt").write_text("no")
    other = saved(tmp_path, FlowMatching(**TINY | {"width": 8}))
    for path, kind, named in (
        (str(tmp_path / "none.ckpt"), UsageError, "none.ckpt: no such file"),
        (str(tmp_path / "no.ckpt"), RunError, "not a readable checkpoint"),
        (other, UsageError, "network is another one"),
    ):
        with pytest.raises(kind, match=named):
            quiet_trainer(max_steps=1).fit(AdversarialFlow(**TINY, teacher=path), Clips())
    with pytest.raises(UsageError, match="rho"):
        AdversarialFlow(**TINY, rho=1.0)


def test_resume_is_exact_over_the_ends_of_stages(tmp_path):
    stages = [{"steps": 2, **ALONE}, {"steps": 2, **MATCH}, GAME]
    make = lambda: AdversarialFlow(**TINY, match_steps=2, stages=stages)  # noqa: E731

    class From(Clips):
        first = 0

        def batch(self, index, rank=0, world=1):
            return super().batch(index + self.first, rank, world)

    def trained(steps: int, ckpt: str | None = None, first: int = 0):
        model, data = make(), From()
        data.first = first
        trainer = quiet_trainer(max_steps=steps)
        trainer.fit(model, data, ckpt_path=ckpt)
        return model, trainer

    whole, _ = trained(7)
    for cut in (3, 5):
        _, trainer = trained(cut)
        trainer.save_checkpoint(tmp_path / "cut.ckpt")
        rest, _ = trained(7, str(tmp_path / "cut.ckpt"), cut)
        assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), rest.state_dict().values()))


def in_latents(**more) -> AdversarialFlow:
    network, judge = (lambda spec, kind=k: kind(spec, data_std=1.0, patch=1) for k in (FlowUNet3d, FlowDiscriminator))
    codec = lambda spec: ClipAutoencoder(spec, width=4)  # noqa: E731
    return AdversarialFlow(
        **TINY | {"num_frames": 8}, rho=0.0, generator=network, discriminator=judge, autoencoder=codec, **more
    )


def test_the_game_in_latents(tmp_path):
    """D judges latents, the transport cost is of latents, clips are decoded, and the teacher brings all of them."""
    _, path = tokenizer(tmp_path)
    network = lambda spec: FlowUNet3d(spec, data_std=1.0, patch=1)  # noqa: E731
    codec = lambda spec: ClipAutoencoder(spec, width=4)  # noqa: E731
    flow = FlowMatching(**TINY | {"num_frames": 8}, generator=network, autoencoder=codec, tokenizer=path)
    awake(flow)
    take_tokenizer(path, flow.generator, flow.generator_ema.module)
    teacher = saved(tmp_path, flow)
    model = in_latents(teacher=teacher, penalty_sigma=0.1, ot_start=0.3)
    quiet_trainer(max_steps=0).fit(model, Clips(num_frames=8))
    assert (model.rate_factor("g"), model.rate_factor("d")) == (0.25, 1.0)  # G was trained before
    own = flow.generator.network.state_dict()
    for name, value in model.discriminator.state_dict().items():
        assert name.split(".")[0] in ("looks", "head") or torch.equal(value, own[name]), name
    batch = Clips(num_frames=8).batch(3)
    x, z = flow.generator.codec.encode(batch["clip"]), Turn(model, "g", batch).latents()
    with torch.no_grad():
        moved = z + flow.generator.network(z, torch.zeros(4))
        real, fake = (model.discriminator(y) for y in (x, moved))
    terms = numbers(losses_of(model, "g", batch))
    assert x.shape == z.shape == (4, 16, 2, 4, 4)
    assert terms["adv"] == pytest.approx(float(nn.functional.softplus(real - fake).mean()), rel=1e-4)
    assert terms["ot"] == pytest.approx(0.3 * float((moved - z).square().mean()), rel=1e-4)
    decoded = flow.generator.codec.decode(model.latents([5], "sample", 0))
    assert decoded.shape == (1, 3, 8, 16, 16) and model.sample(1).shape == decoded.shape
    with pytest.raises(UsageError, match="model.autoencoder, a network, needs its trained weights"):
        in_latents()


def test_a_critic_begins_with_the_flow_at_the_end_of_its_stage(tmp_path):
    _, path = tokenizer(tmp_path)
    model = in_latents(tokenizer=path, stages=[{"steps": 2, **ALONE}, {"players": ["g", "d"]}])
    quiet_trainer(max_steps=3).fit(model, Clips(num_frames=8))
    found, flow = model.discriminator.state_dict(), model.flow.network.state_dict()
    assert not torch.equal(found["head.weight"], in_latents(tokenizer=path).discriminator.state_dict()["head.weight"])
    apart = max(float((found[k] - flow[k]).abs().max()) for k in found if k in flow)
    assert 0 < apart < 5e-3  # one update of Adam at 2e-3 from there
