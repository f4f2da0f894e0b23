"""Flow matching: its loss against plain formulas, its noise and times, one player in every part of the suite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers import TINY, Clips, double, losses_of, quiet_trainer, tokenizer
from lightning.pytorch import Callback
from torch import nn

from vidiff import keyed
from vidiff.commands.sample import sample
from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.adversarial_flow import AdversarialFlow
from vidiff.models.dcgan import DCGAN
from vidiff.models.flow import GOLDEN, FlowMatching, velocity_loss
from vidiff.models.latents import take_tokenizer
from vidiff.models.turn import Turn
from vidiff.nn.autoencoder import ClipAutoencoder
from vidiff.nn.flow_unet import FlowUNet3d
from vidiff.training.summary import Players

SMALL = TINY | {"num_frames": 8, "sampling_steps": 2}


def awake(model: FlowMatching) -> FlowMatching:
    """Weights instead of zeros in raw and averaged network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator.parameters():
            nn.init.normal_(p, 0.0, 0.1)
    model.generator_ema.module.load_state_dict(model.generator.state_dict())
    return model


def test_the_loss_by_hand():
    model, batch = double(awake(FlowMatching(**TINY, rho=0.3)))
    z, t = Turn(model, "g", batch).latents(), model.drawn_times(Turn(model, "g", batch))
    total = 0.0
    for x, noise, time in zip(batch["clip"], z, t):
        place = noise + time * (x - noise)
        v = model.generator.network(place[None], time[None])[0]
        total += float(((x - noise - v) ** 2).sum().detach()) / x.numel()
    terms = losses_of(model, "g", batch)
    assert terms.keys() == {"fm"} and float(terms["fm"].detach()) == pytest.approx(total / 4, rel=1e-9)


def test_a_clip_may_teach_several_times():
    """The loss of three draws is the mean of three losses, of other noise and times; the times of all are even."""
    model, batch = double(awake(FlowMatching(**TINY, draws=3)))
    turn = Turn(model, "g", batch)
    times = [model.drawn_times(turn, draw) for draw in range(3)]
    noise = [turn.latents(), turn.latents(1), turn.latents(2)]
    losses = [velocity_loss(model.generator.network, batch["clip"], z, t, None) for z, t in zip(noise, times)]
    assert len({round(float(loss.detach()), 9) for loss in losses}) == 3
    fm = losses_of(model, "g", batch)["fm"]
    assert float(fm.detach()) == pytest.approx(float(sum(losses).detach()) / 3, rel=1e-9)
    gaps = torch.cat(times).sort().values.diff()
    assert gaps.min() > 0.02 and gaps.max() < 0.16  # twelve of them, 1/12 apart in the mean
    with pytest.raises(UsageError, match="model.draws must be at least 1"):
        FlowMatching(**TINY, draws=0)


def test_labels_are_left_out_by_share():
    """With all left out the classes do not matter, with none every one of them does."""
    for dropout, same in ((1.0, True), (0.0, False)):
        model, batch = double(awake(FlowMatching(**TINY, num_classes=3, label_dropout=dropout)), num_classes=3)
        other = batch | {"label": (batch["label"] + 1) % 3}
        values = [float(losses_of(model, "g", b)["fm"]) for b in (batch, other)]
        assert (values[0] == values[1]) == same
    model = FlowMatching(**TINY, num_classes=3, label_dropout=0.25)
    seen = []
    model.generator.network.register_forward_pre_hook(lambda _, given: seen.append(given[2]))
    losses_of(model, "g", Clips(200, num_classes=3).batch(0))
    assert set(seen[0].sum(1).tolist()) == {0.0, 1.0} and float(seen[0].sum(1).mean()) == pytest.approx(0.75, abs=0.09)


def test_frames_share_a_part_of_the_noise():
    for rho in (0.0, 0.6):
        z = FlowMatching(**TINY, rho=rho).latents(range(64), "test").double()
        assert float(z.mean()) == pytest.approx(0.0, abs=0.02) and float(z.var()) == pytest.approx(1.0, abs=0.03)
        for apart in (1, 3):
            product = float((z[:, :, apart:] * z[:, :, :-apart]).mean())
            assert product == pytest.approx(rho, abs=0.03), (rho, apart)


def test_noise_depends_on_the_slot_alone():
    model = FlowMatching(**TINY, rho=0.5)
    whole = model.latents(range(6), "d", 0)
    assert torch.equal(whole[4:], model.latents(range(4, 6), "d", 0)) and whole.shape == (6, 3, 4, 16, 16)
    assert not torch.equal(whole, model.latents(range(6), "g", 0))


def times(model: FlowMatching, slots: range) -> torch.Tensor:
    return model.drawn_times(Turn(model, "g", {"slot": torch.tensor(slots), "clip": torch.zeros(1)}))


def test_times_are_spread_evenly():
    model = FlowMatching(**TINY)
    t = times(model, range(100))
    assert torch.equal(t[40:60], times(model, range(40, 60)))
    gaps = t[10:26].sort().values.diff()  # of a batch of 16
    assert float(gaps.max()) < 2.5 / 16 and float(gaps.min()) > 0.3 / 16
    start = float(torch.rand((), generator=keyed.generator(model.seed, "time")))
    assert float(t[7]) == pytest.approx((start + 7 * GOLDEN) % 1, abs=1e-6)
    assert not torch.equal(t, times(FlowMatching(**TINY, seed=1), range(100)))


def test_logit_normal_times():
    t = times(FlowMatching(**TINY, times="logit_normal"), range(4000)).double()
    logit = t.logit()
    assert float(logit.mean()) == pytest.approx(0.0, abs=0.01) and float(logit.std()) == pytest.approx(1.0, abs=0.01)
    inside = float(((t > 0.3) & (t < 0.7)).double().mean())
    assert inside == pytest.approx(math.erf(math.log(0.7 / 0.3) / math.sqrt(2)), abs=0.01)


def test_shifted_times():
    """The noise of a time, (1 - t) / t, is s times as strong beside the clip: of u = 1/2 it is s."""
    u, t = (times(FlowMatching(**TINY, time_shift=s), range(4000)).double() for s in (1.0, 3.0))
    assert torch.allclose((1 - t) / t, 3 * (1 - u) / u, rtol=1e-4)
    assert float((t < 0.25).double().mean()) == pytest.approx(0.5, abs=1e-3)
    same = times(FlowMatching(**TINY, times="logit_normal", time_shift=3.0), range(4000)).double().logit()
    assert float(same.mean()) == pytest.approx(-math.log(3), abs=0.01)


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"rho": 1.0}, "rho"),
        ({"time_shift": 0.0}, "time_shift must be above 0"),
        ({"time_shift": math.inf}, "time_shift must be above 0"),
        ({"sampling_steps": 0}, "sampling_steps"),
        ({"solver": "rk4"}, "solver must be euler or heun"),
        ({"times": "beta"}, "times must be"),
        ({"label_dropout": -0.1}, "label_dropout"),
        ({"stages": [{"players": ["d"]}]}, r"players must be \[g\], the only player"),
        ({"term_weights": {"adv": 2.0}}, "there is no term 'adv'"),
    ],
)
def test_what_cannot_be(wrong, named):
    with pytest.raises(UsageError, match=named):
        quiet_trainer(max_steps=1).fit(FlowMatching(**TINY, **wrong), Clips())


def test_one_player_trains_alone(capsys):
    """A step is an update, a batch makes one; nothing of a discriminator is made, logged or stored."""
    model = FlowMatching(**SMALL)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = quiet_trainer(max_steps=12, callbacks=[Players(steps=3)])
    trainer.fit(model, Clips(num_frames=8))
    assert trainer.global_step == model.batches_seen == int(model.generator_ema.n_averaged) == 12
    assert list(model.players) == ["g"] and not [k for k in before if k.startswith("discriminator")]
    assert set(model.terms) == {f"train/{k}" for k in ("g_fm", "g_total", "g_grad_norm", "g_weight_norm", "lr_g")}
    moved = [k for k, v in model.state_dict().items() if k.startswith("generator.") and not torch.equal(v, before[k])]
    assert len(moved) > 20
    said = capsys.readouterr().out
    assert "players: G 1" in said and "FLOP a clip\n" in said and " gradient norm (mean of 3 steps)\n" in said
    assert " D " not in said


def test_the_guide_is_the_average_of_its_step(tmp_path):
    """Neither before nor after; a run that is continued, or whose clips are made from its file, has it too."""
    averages = []

    class Averages(Callback):
        def on_train_batch_start(self, trainer, module, *_):
            averages.append({k: v.clone() for k, v in module.generator_ema.module.network.state_dict().items()})

    model = FlowMatching(**SMALL, guide_step=2, guidance=3.0)
    quiet_trainer(max_steps=1).fit(model, Clips(num_frames=8))
    assert not model.generator_ema.module.has_guide
    model = FlowMatching(**SMALL, guide_step=2, guidance=3.0)
    trainer = quiet_trainer(max_steps=4, callbacks=[Averages()])
    trainer.fit(model, Clips(num_frames=8))
    for sampler in (model.generator, model.generator_ema.module):
        guide = sampler.guide.state_dict()
        assert sampler.has_guide and all(torch.equal(guide[k], v) for k, v in averages[2].items())
    trainer.save_checkpoint(path := tmp_path / "m.ckpt")
    model.eval()
    assert torch.equal(load_model(path, "cpu").sample(2), model.sample(2))
    assert not torch.equal(load_model(path, "cpu", guidance=1.0).sample(2), model.sample(2))
    student = AdversarialFlow(**TINY | {"num_frames": 8}, rho=0.0, teacher=str(path))  # wants the network alone
    quiet_trainer(max_steps=0).fit(student, Clips(num_frames=8))
    average = model.generator_ema.module.network.state_dict()
    assert all(torch.equal(v, average[k]) for k, v in student.generator.network.state_dict().items())


def test_the_loss_falls():
    class Same(Clips):
        """Four plain colors that stay what they are."""

        def batch(self, index, rank=0, world=1):
            one = super().batch(0, rank, world)
            clip = one["clip"].mean((3, 4), keepdim=True).mul(8).expand(-1, -1, -1, 16, 16).contiguous()
            return one | {"slot": one["slot"] + 4 * index, "clip": clip}

    def loss(model: FlowMatching) -> float:
        return sum(float(losses_of(model, "g", data.batch(100 + i))["fm"].detach()) for i in range(8)) / 8

    data, model = Same(num_frames=8), FlowMatching(**SMALL)
    before = loss(model)
    quiet_trainer(max_steps=80).fit(model, data)
    assert loss(model) < 0.85 * before


def test_held_out_clips_are_scored_by_the_loss():
    model = FlowMatching(**SMALL)
    (values,) = quiet_trainer().validate(model, Held(num_frames=8), verbose=False)
    assert values == {
        "val/g_fm": pytest.approx(float(losses_of(model, "g", Clips(num_frames=8).batch(0))["fm"]), rel=1e-5)
    }


class Held(Clips):
    def val_dataloader(self):
        return torch.utils.data.DataLoader([self.batch(0)], batch_size=None)


def saved(tmp_path, model) -> str:
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "m.ckpt")
    return tmp_path / "m.ckpt"


def test_steps_and_solver_are_chosen_when_sampling(tmp_path):
    model = awake(FlowMatching(**SMALL)).eval()
    path = saved(tmp_path, model)
    same = load_model(path, "cpu")
    assert torch.equal(same.sample(2), model.sample(2)) and same.generator.steps == 2
    four = load_model(path, "cpu", sampling_steps=4, solver="heun")
    assert four.arguments["sampling_steps"] == 4 and not torch.equal(four.sample(2), same.sample(2))
    z = model.latents(range(2), "sample", 0)
    other = awake(FlowMatching(**SMALL | {"sampling_steps": 4}, solver="heun")).eval()
    with torch.no_grad():
        torch.testing.assert_close(four.generator(z), other.generator(z))


def test_the_command_takes_them_and_others_say_no(tmp_path):
    path = saved(tmp_path, awake(FlowMatching(**SMALL)).eval())
    for name, chosen in (("a", {}), ("b", {"sampling_steps": 2, "solver": "euler"}), ("c", {"sampling_steps": 1})):
        sample(ckpt=path, output=tmp_path / name, num_clips=2, formats=["npy"], device="cpu", **chosen)
    a, b, c = ((tmp_path / name / "clips.npy").read_bytes() for name in "abc")
    assert a == b and a != c
    with pytest.raises(UsageError, match="solver must be"):
        sample(ckpt=path, output=tmp_path / "d", solver="midpoint", device="cpu")
    other = saved(tmp_path, DCGAN(**TINY).eval())
    with pytest.raises(UsageError, match=r"m.ckpt cannot be used: DCGAN has no sampling_steps, guidance$"):
        sample(ckpt=other, output=tmp_path / "d", sampling_steps=4, guidance=2.0, device="cpu")
    assert not (tmp_path / "d").exists()


def test_compiling_reaches_the_network_that_is_trained(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, *a, **k: compiled.append(self))
    model = FlowMatching(**SMALL)
    model.generator.compile()
    assert compiled == [model.generator.network]


def latent_flow(path: str | None, **more) -> FlowMatching:
    network = lambda spec: FlowUNet3d(spec, data_std=1.0, patch=1)  # noqa: E731
    codec = lambda spec: ClipAutoencoder(spec, width=4)  # noqa: E731
    return FlowMatching(**SMALL, generator=network, autoencoder=codec, tokenizer=path, **more)


def test_a_flow_in_latents_learns_there_and_its_clips_are_decoded(tmp_path):
    codec, path = tokenizer(tmp_path)
    model = latent_flow(path)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, Clips(num_frames=8))
    for network in (model.generator, model.generator_ema.module):  # taken from the average, and left alone since
        for name, value in codec.generator_ema.module.state_dict().items():
            assert torch.equal(network.codec.state_dict()[name], value), name
    batch = Clips(num_frames=8).batch(7)
    turn = Turn(model, "g", batch)
    x, z, t = codec.encode(batch["clip"]), turn.latents(), model.drawn_times(turn)
    assert x.shape == z.shape == (4, 16, 2, 4, 4)
    at = t[:, None, None, None, None]
    v = model.generator.network((1 - at) * z + at * x, t, None)
    fm = losses_of(model, "g", batch)["fm"]
    assert float(fm) == pytest.approx(float((v - (x - z)).square().mean()), rel=1e-5)
    with torch.no_grad():
        z = model.latents([5], "sample", 0)
        for i in range(2):
            z = z + 0.5 * model.generator.network(z, torch.full((1,), i / 2), None)
        assert torch.allclose(
            model.generator(model.latents([5], "sample", 0)), model.generator.codec.decode(z), atol=1e-5
        )
    trainer.save_checkpoint(tmp_path / "f.ckpt")
    Path(path).unlink()  # a checkpoint of the flow holds its autoencoder
    again = latent_flow(path)
    again.load_state_dict(torch.load(tmp_path / "f.ckpt", weights_only=True)["state_dict"])
    assert torch.equal(again.generate([3]), model.generate([3]))


def test_latents_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UsageError, match="model.autoencoder.*model.tokenizer.*both or none"):
        latent_flow(None)
    with pytest.raises(UsageError, match="model.tokenizer nowhere.ckpt: no such file"):
        take_tokenizer("nowhere.ckpt", latent_flow("nowhere.ckpt").generator)
    (tmp_path / "b.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(RunError, match="model.tokenizer .*b.ckpt is not a readable checkpoint"):
        take_tokenizer(str(tmp_path / "b.ckpt"), latent_flow("b.ckpt").generator)
    _, path = tokenizer(tmp_path, width=6)
    with pytest.raises(UsageError, match="model.tokenizer .*a.ckpt: it is not of model.autoencoder, .* differs"):
        take_tokenizer(path, latent_flow(path).generator)
