"""Multi-period GAN: shared frames are identical, each period plays its own game, chaining, staging, loss terms."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, fakes_of, losses_of, numbers, quiet_trainer

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.multiperiod import MultiPeriodGAN
from vidiff.models.turn import Turn
from vidiff.nn.multiperiod import periods_of

SMALL = {**TINY, "num_frames": 8}


def data(**kwargs):
    return Clips(num_frames=8, **kwargs)


def test_frames_shared_between_periods_are_identical():
    model = MultiPeriodGAN(num_classes=2, **SMALL)
    clips = fakes_of(model, "g", data(num_classes=2).batch(0))
    assert [c.shape[2] for c in clips.values()] == [2, 4, 8] and list(clips) == [4, 2, 1]
    assert torch.equal(clips[1][:, :, ::2], clips[2]) and torch.equal(clips[2][:, :, ::2], clips[4])
    assert torch.equal(clips[1][:, :, ::4], clips[4])
    assert not torch.equal(clips[1][:, :, 1::2], clips[2])


@pytest.mark.parametrize("num_classes", [None, 2])
def test_terms(num_classes):
    model = MultiPeriodGAN(num_classes=num_classes, **SMALL).double()
    model.discriminator.eval()
    batch = data(num_classes=num_classes).batch(0)
    batch["clip"] = batch["clip"].double()
    label = batch["label"] if num_classes else None
    got_d = numbers(losses_of(model, "d", batch))
    got_g = numbers(losses_of(model, "g", batch))
    expected_d, expected_g = {}, {}
    fakes = {player: fakes_of(model, player, batch) for player in ("d", "g")}
    for p in (4, 2, 1):
        d = lambda x, p=p: model.discriminator[f"p{p}"](x, label).tolist()  # noqa: E731
        real = batch["clip"][:, :, [t for t in range(8) if t % p == 0]]
        expected_d[f"p{p}_real"] = sum(math.log1p(math.exp(-x)) for x in d(real)) / 4
        expected_d[f"p{p}_fake"] = sum(math.log1p(math.exp(x)) for x in d(fakes["d"][p])) / 4
        expected_g[f"p{p}"] = sum(math.log1p(math.exp(-x)) for x in d(fakes["g"][p])) / 4
    assert got_d == pytest.approx(expected_d, abs=1e-6) and got_g == pytest.approx(expected_g, abs=1e-6)


@pytest.mark.parametrize("mode", ["joint", "staged"])
def test_a_period_teaches_its_own_network_and_in_joint_mode_the_coarser_ones(mode):
    model = MultiPeriodGAN(mode=mode, **SMALL)
    terms = losses_of(model, "g", data().batch(0))
    networks = {"p4": model.generator.keys, "p2": model.generator.between[0], "p1": model.generator.between[1]}
    for i, (name, term) in enumerate(terms.items()):
        model.zero_grad()
        term.backward(retain_graph=True)
        moved = [k for k, n in networks.items() if any(p.grad is not None and p.grad.any() for p in n.parameters())]
        assert moved == (list(networks)[: i + 1] if mode == "joint" else [name])


def test_staged_training_moves_one_period_at_a_time():
    model = MultiPeriodGAN(mode="staged", stage_clips=8, **SMALL)
    assert [model.periods_at(c) for c in (0, 7, 8, 16, 999)] == [[4], [4], [2], [1], [1]]
    before = [p.detach().clone() for p in model.generator.parameters()]
    quiet_trainer(max_steps=3).fit(model, data())  # batches of 4: key frames twice, then period 2
    names = {
        n.split(".")[0] + n.split(".")[1] * n.startswith("between")
        for (n, p), old in zip(model.generator.named_parameters(), before)
        if not torch.equal(p, old)
    }
    assert names == {"keys", "between0"}
    assert "train/g_p2" in model.terms and not {"train/g_p4", "train/d_p4_real", "train/g_p1"} & set(model.terms)


def test_strategies_know_the_terms_of_later_periods():
    late = {"g_p1": 2.0}
    model = MultiPeriodGAN(mode="staged", stage_clips=8, term_weights=late, stages=[{"players": ["g"]}], **SMALL)
    quiet_trainer(max_steps=5).fit(model, data())  # G alone goes through the periods as well
    assert model._active == [1] and "train/g_p1" in model.terms
    with pytest.raises(UsageError, match="g_p3.*d_p4_real, d_p4_fake"):
        MultiPeriodGAN(term_weights={"g_p3": 2.0}, **SMALL)


def test_any_length_by_chaining():
    model = MultiPeriodGAN(**SMALL).eval()
    quiet_trainer(max_steps=2).fit(model, data())
    model.eval()
    clip, long = model.sample(2), model.sample(2, num_frames=21)
    assert clip.shape[2] == 8 and long.shape[2] == 21 and model.sample(1, num_frames=3).shape[2] == 3
    assert (long[:, :, ::4][:, :, :2].int() - clip[:, :, ::4].int()).abs().max() <= 1  # the key frames of segment 0
    z = model.latents([0, 1])[:, None].expand(-1, 4, -1)
    keys, latents = model.generator.key_frames(z, None)
    assert keys.shape[2] == 2 + 3 * 1 and latents.shape == (2, 8, 5)


def test_continuation_keeps_the_given_frame():
    model = MultiPeriodGAN(continue_share=1.0, **SMALL)
    model.eval()  # fixed statistics: the order of calls does not matter
    batch = data().batch(0)
    given, has = model.to_continue(Turn(model, "d", batch))
    assert has.all() and not given.requires_grad
    clips = fakes_of(model, "d", batch)
    assert all(torch.equal(c[:, :, 0], given[:, :, 0]) for c in clips.values())
    assert not torch.equal(clips[4][:, :, 1], given[:, :, 0])
    model.continue_share = 0.5
    many = Turn(model, "d", {"slot": torch.arange(32)})
    some, part = (model.to_continue(t)[1] for t in (many, Turn(model, "d", {"slot": torch.arange(16, 32)})))
    assert 4 < int(some.sum()) < 28 and torch.equal(some[16:], part)  # by slot, on one process or two
    model.continue_share = 0.0
    assert not model.to_continue(many)[1].any()


@pytest.mark.parametrize("period, frames", [(3, 12), (0, 8), (8, 8), (4, 10)])
def test_periods_must_fit(period, frames):
    with pytest.raises(ValueError, match="period"):
        MultiPeriodGAN(period=period, **{**TINY, "num_frames": frames})
    assert periods_of(ClipSpec(3, 16, 32), 8) == [8, 4, 2, 1]
