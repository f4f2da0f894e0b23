"""A turn: standalone losses, keys of what is drawn, what is recorded of a discriminator's logits."""

from __future__ import annotations

import pytest
import torch
from helpers import GAMES, TINY, Anything, Clips, double, losses_of, numbers, quiet_trainer
from lightning.pytorch import Callback

from vidiff import keyed
from vidiff.augment import DiffAugment
from vidiff.models import families
from vidiff.models.dcgan import DCGAN
from vidiff.models.r3gan import R3GAN
from vidiff.models.turn import Turn, halves
from vidiff.models.wgan_gp import WGANGP
from vidiff.nn.moco import Noise


@pytest.mark.parametrize("family", GAMES)
def test_two_lines_give_the_terms_of_the_step(family):
    """Outside a trainer, before the first update of D: what that update logs, augmentation included."""
    settings = TINY | {"num_frames": 8, "num_classes": 2, "discriminator_augment": DiffAugment()}
    alone, trained = (families()[family](**settings) for _ in range(2))
    data = Anything(num_frames=8, num_classes=2)
    batch = data.batch(0)
    torch.manual_seed(keyed.key(0, "step", 0, 0))  # what networks draw by themselves
    alone.before_batch(batch)
    turn = Turn(alone, "d", batch)
    terms = alone.discriminator_losses(turn)
    first = {}

    class First(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx == 0:
                first.update(module.terms)

    quiet_trainer(max_steps=1, callbacks=[First()]).fit(trained, data)
    for name, value in terms.items():
        assert torch.equal(first[f"train/d_{name}"], value.detach()), name


def test_what_is_drawn_depends_on_player_move_and_slot():
    model, batch = DCGAN(**TINY), Clips().batch(3)
    turn = Turn(model, "g", batch, move=1)
    assert turn.slots == [12, 13, 14, 15]
    assert torch.equal(turn.latents("more"), model.latents(turn.slots, "g", 1, "more"))
    others = [Turn(model, "d", batch, 1), Turn(model, "g", batch), Turn(model, "g", Clips().batch(2), 1)]
    assert not any(torch.equal(turn.latents(), other.latents()) for other in others)
    u = torch.cat([Turn(model, "d", {"slot": torch.arange(k, k + 200)}).uniform("mix") for k in (0, 200)])
    assert torch.equal(u[150:300], Turn(model, "d", {"slot": torch.arange(150, 300)}).uniform("mix"))
    assert 0 <= u.min() < 0.05 and 0.95 < u.max() < 1 and float(u.mean()) == pytest.approx(0.5, abs=0.05)


def test_slots_are_read_once():
    class Slots:
        reads = 0

        def tolist(self):
            self.reads += 1
            return [4, 5]

    model, batch = DCGAN(**TINY), {"slot": Slots()}
    first = Turn(model, "d", batch)
    second = Turn(model, "g", batch, after=first)
    assert first.slots == second.slots == [4, 5] and batch["slot"].reads == 1


def test_a_generated_clip_has_a_graph_for_g_alone():
    model, batch = DCGAN(**TINY), Clips().batch(0)
    assert Turn(model, "g", batch).fake().requires_grad and not Turn(model, "d", batch).fake().requires_grad


def trained_by_sgd(family, monkeypatch=None):
    """Parameters after three steps in float64; with a monkeypatch, G's clips generated once more, of the same draws."""
    if monkeypatch is not None:

        def anew(turn):
            with torch.set_grad_enabled(turn.player == "g"):
                return turn.model.fake_clips(turn)

        monkeypatch.setattr(Turn, "keep_fake", lambda turn: setattr(turn, "_kept", "to be made anew"))
        monkeypatch.setattr(Turn, "fake", anew)
    settings = TINY | {"num_frames": 8, "num_classes": 2}
    sgd = lambda p: torch.optim.SGD(p, lr=1e-2)  # noqa: E731  Adam would make a jump of what only rounds differently
    model = families()[family](**settings, optimizer_g=sgd, optimizer_d=sgd)
    for part in model.modules():
        if isinstance(part, Noise):  # draws from the running seed: another call, other numbers
            part.sigma = 0.0
    quiet_trainer(max_steps=3, precision="64-true").fit(model, Anything(num_frames=8, num_classes=2))
    return dict(model.named_parameters())


@pytest.mark.parametrize("family", GAMES)
def test_going_on_from_what_d_has_judged_is_the_same_step(family, monkeypatch):
    kept = trained_by_sgd(family)
    for name, anew in trained_by_sgd(family, monkeypatch).items():
        torch.testing.assert_close(kept[name], anew, rtol=1e-7, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")


def test_a_clip_is_generated_once_a_step():
    class Counting(DCGAN):
        calls = 0

        def fake_clips(self, turn):
            self.calls += 1
            return super().fake_clips(turn)

    for settings, calls in (({}, 4), ({"n_critic": 3}, 12), ({"g_steps": 2}, 4), ({"stages": [{"players": ["g"]}]}, 4)):
        model = Counting(**TINY, **settings)
        quiet_trainer(max_steps=4).fit(model, Clips())
        assert model.calls == calls, settings


def test_g_has_the_draws_of_d_in_its_first_move():
    model, batch = DCGAN(**TINY), Clips().batch(3)
    first = Turn(model, "d", batch)
    assert Turn(model, "g", batch, 0, first).draw == ("g", 0)  # nothing was kept
    first.keep_fake()
    second, third = Turn(model, "g", batch, 0, first), Turn(model, "g", batch, 1, first)
    assert second.draw == ("d", 0) and third.draw == ("g", 1)
    seen, made = first.fake(), second.fake()
    assert torch.equal(seen, made) and made.requires_grad and not seen.requires_grad
    assert second.fake().grad_fn is not made.grad_fn  # its graph is used up: made anew


def test_two_calls_are_augmented_differently_and_a_turn_repeats_them():
    model, batch = DCGAN(discriminator_augment=DiffAugment(), **TINY), Clips().batch(0)
    turn = Turn(model, "d", batch)
    first, second = turn.augment(turn.real), turn.augment(turn.real)
    assert not torch.equal(first, second)
    again = Turn(model, "d", batch)
    assert torch.equal(again.augment(turn.real), first) and torch.equal(again.augment(turn.real), second)
    assert not torch.equal(Turn(model, "g", batch).augment(turn.real), first)
    assert torch.equal(Turn(model, "d", batch, augmented=False).augment(turn.real), turn.real)


def test_logits_are_kept_by_side():
    model, batch = DCGAN(**TINY), Clips().batch(0)
    model.discriminator.eval()
    turn = Turn(model, "d", batch)
    real = turn.judge(turn.real.flip(-1), "real")
    assert turn.answers() is None  # of one side
    turn.judge(turn.real, "mixed")
    turn.judge(turn.real, "real", counts=False)
    turn.judge(turn.real, "fake", by=lambda clip: clip.mean((1, 2)))
    turn.judge(turn.real, "fake", by=lambda clip: (clip.amax((1, 2, 3, 4)), "beside"))
    kept, fake = turn.answers()
    assert torch.equal(kept, real) and not kept.requires_grad
    expected = torch.cat([batch["clip"].mean((1, 2)).flatten(), batch["clip"].amax((1, 2, 3, 4))])
    assert torch.equal(fake, expected)  # of several discriminators, one after the other
    assert turn.predictions == {"fake": "beside"}


@pytest.mark.parametrize("family", [WGANGP, R3GAN])
def test_a_penalty_leaves_one_answer_a_clip(family):
    model = family(**{**TINY, "width": 8})
    turn = Turn(model, "d", Clips().batch(0))
    model.discriminator_losses(turn)
    assert [x.shape for x in turn.answers()] == [(4,), (4,)]


def test_terms_do_not_depend_on_a_trainer():
    model = DCGAN(**TINY)
    assert set(numbers(losses_of(model, "g", Clips().batch(0)))) == {"adv"} and model._trainer is None


@pytest.mark.parametrize("norm, passes", [("instance", 1), ("batch", 2)])
def test_both_sides_in_one_pass_where_no_clip_minds_the_others(norm, passes):
    model = WGANGP(num_classes=2, **TINY) if norm == "instance" else DCGAN(num_classes=2, **TINY)
    model, batch = double(model, num_classes=2)
    fake, fake_label = torch.randn_like(batch["clip"]), 1 - batch["label"]
    calls = []
    model.discriminator.register_forward_hook(lambda *_: calls.append(0))
    turn = Turn(model, "d", batch)
    together = turn.judge_both(fake, fake_label)
    assert len(calls) == passes and [len(logits) for logits in turn.logits.values()] == [1, 1]
    alone = Turn(model, "d", batch)
    other = alone.judge(alone.real, "real"), alone.judge(fake, "fake", lambda c: model.discriminate(c, fake_label))
    for a, b, c in zip(together, other, turn.answers()):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        torch.testing.assert_close(a.detach().float(), c, rtol=0, atol=1e-6)


def test_halves_of_what_a_network_gives():
    x = torch.arange(6.0)
    (a, (b, none)), (c, (d, _)) = halves((x, ({"k": x}, None)))
    assert a.tolist() == b["k"].tolist() == [0, 1, 2] and c.tolist() == d["k"].tolist() == [3, 4, 5] and none is None
