"""StarGAN: every term against the paper's formula, targets, labels, checkpoints."""

from __future__ import annotations

import pytest
import torch
from helpers import Clips, fakes_of, losses_of, native_kernels, numbers, quiet_trainer

from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.stargan import StarGAN
from vidiff.models.turn import Turn
from vidiff.nn.resnet import StarGenerator
from vidiff.nn.styled import DomainDiscriminator, StyledGenerator
from vidiff.optim import Schedule

TINY = dict(num_frames=4, resolution=16, width=4, num_classes=3)
SMALL_G = dict(generator=lambda spec: StarGenerator(spec, blocks=1))
STYLED = dict(generator=lambda spec: StyledGenerator(spec, blocks=1), discriminator=DomainDiscriminator)


def log_softmax(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return torch.stack([p[i, k].log() for i, k in enumerate(label.tolist())])


@pytest.mark.parametrize("game, rec_loss", [("wasserstein", "l1"), ("least_squares", "l1"), ("least_squares", "mse")])
def test_terms_are_the_papers(game, rec_loss):
    weights = dict(cls_weight=2.0, rec_weight=3.0, gp_weight=4.0, motion_weight=0.5, rec_loss=rec_loss)
    model = StarGAN(game=game, **weights, **TINY, **SMALL_G).double()
    batch = model._cast(Clips(num_classes=3).batch(0))
    x, label = batch["clip"], batch["label"]
    d_terms = numbers(losses_of(model, "d", batch))
    fake = fakes_of(model, "d", batch)
    (real_logits, domains), (fake_logits, _) = model.discriminator(x), model.discriminator(fake)
    expected = {"cls": -2.0 * log_softmax(domains, label).mean()}
    if game == "wasserstein":
        from vidiff import keyed

        eps = [torch.rand((), generator=keyed.generator(0, "mix", s)) for s in batch["slot"].tolist()]
        norms = []
        for i, e in enumerate(eps):
            hat = (e * x[i : i + 1] + (1 - e) * fake[i : i + 1]).requires_grad_()
            (gradient,) = torch.autograd.grad(model.discriminator(hat)[0].sum(), hat)
            norms.append(((gradient**2).sum().sqrt() - 1) ** 2)
        expected |= {"real": -real_logits.mean(), "fake": fake_logits.mean(), "gp": 4.0 * sum(norms) / len(norms)}
    else:
        expected |= {"real": 0.5 * ((real_logits - 1) ** 2).mean(), "fake": 0.5 * (fake_logits**2).mean()}
    assert d_terms == pytest.approx({k: float(v.detach()) for k, v in expected.items()}, abs=1e-6)

    g_terms = numbers(losses_of(model, "g", batch))
    target = model.targets(Turn(model, "g", batch))
    fake = model.generator(x, target)
    rec = model.generator(fake, label)
    logits, domains = model.discriminator(fake)
    step = lambda c: c[:, :, 1:] - c[:, :, :-1]  # noqa: E731
    size = torch.abs if rec_loss == "l1" else torch.square
    expected = {
        "adv": -logits.mean() if game == "wasserstein" else ((logits - 1) ** 2).mean(),
        "cls": -2.0 * log_softmax(domains, target).mean(),
        "rec": 3.0 * size(x - rec).mean(),
        "motion": 3.0 * 0.5 * size(step(x) - step(rec)).mean(),
    }
    assert g_terms == pytest.approx({k: float(v.detach()) for k, v in expected.items()}, abs=1e-6)


@pytest.mark.parametrize("game", ["wasserstein", "least_squares"])
def test_a_discriminator_of_domains_takes_the_place_of_the_classifier(game):
    """It is asked about the own domain of real clips and the target of generated ones, and there is no term `cls`."""
    model = StarGAN(game=game, gp_weight=0.0, **TINY, **STYLED).double()
    batch = model._cast(Clips(num_classes=3).batch(0))
    d_terms, fake = numbers(losses_of(model, "d", batch)), fakes_of(model, "d", batch)
    real = model.discriminator(batch["clip"], batch["label"])
    targets = {player: model.targets(Turn(model, player, batch)) for player in "dg"}
    judged = model.discriminator(fake, targets["d"])
    wanted = (-real, judged) if game == "wasserstein" else (0.5 * (real - 1) ** 2, 0.5 * judged**2)
    assert {k: d_terms[k] for k in ("real", "fake")} == pytest.approx(
        {k: float(v.detach().mean()) for k, v in zip(("real", "fake"), wanted)}, abs=1e-6
    )
    g_terms = numbers(losses_of(model, "g", batch))
    logits = model.discriminator(model.generator(batch["clip"], targets["g"]), targets["g"]).detach()
    adv = -logits.mean() if game == "wasserstein" else ((logits - 1) ** 2).mean()
    assert g_terms["adv"] == pytest.approx(float(adv), abs=1e-6)
    assert "cls" not in d_terms and "cls" not in g_terms


def test_the_way_back_may_be_taught_alone():
    """`rec_through: false` leaves the value of the term, and of its gradient what the second pass contributes."""
    batch = Clips(num_classes=3).batch(0)
    gradients, values = {}, {}
    for through in (True, False):
        model = StarGAN(game="least_squares", rec_through=through, motion_weight=0.0, **TINY, **STYLED).double()
        terms = losses_of(model, "g", model._cast(batch))
        values[through] = float(terms["rec"].detach())
        parameters = list(model.generator.parameters())
        gradients[through] = torch.autograd.grad(terms["rec"], parameters, allow_unused=True, materialize_grads=True)
    x = model._cast(batch)["clip"]
    with torch.no_grad():
        fake = model.generator(x, model.targets(Turn(model, "g", batch)))
    by_hand = 10.0 * (model.generator(fake, batch["label"]) - x).abs().mean()
    expected = torch.autograd.grad(by_hand, parameters, allow_unused=True, materialize_grads=True)
    assert values[True] == pytest.approx(values[False]) == pytest.approx(float(by_hand.detach()))
    for ours, theirs in zip(gradients[False], expected):
        torch.testing.assert_close(ours, theirs)
    assert any(not torch.allclose(a, b) for a, b in zip(gradients[True], gradients[False]))


def test_targets_are_uniform_and_a_function_of_the_slot():
    model = StarGAN(**TINY, **SMALL_G)
    targets = lambda slots, player: model.targets(Turn(model, player, {"slot": slots}))  # noqa: E731
    whole = targets(torch.arange(3000), "g")
    assert torch.bincount(whole).tolist() == pytest.approx([1000] * 3, abs=100)
    assert torch.equal(whole[7:9], targets(torch.tensor([7, 8]), "g"))
    assert not torch.equal(whole, targets(torch.arange(3000), "d"))


def test_domains_are_needed():
    for number in (None, 1):
        with pytest.raises(UsageError, match="two or more domains"):
            StarGAN(num_frames=4, resolution=16, width=4, num_classes=number)


def test_both_players_learn_and_the_checkpoint_is_whole(tmp_path):
    model = StarGAN(n_critic=2, **TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, Clips(num_classes=3))
    assert model.batches_seen == 4 and "train/d_accuracy" in model.terms
    for part in ("generator.layers.0.space.weight", "discriminator.domain.weight", "discriminator.source.weight"):
        assert not torch.equal(before[part], model.state_dict()[part])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt", "cpu")
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    assert torch.equal(loaded.translate(clips, 0, 2), model.translate(clips, 0, 2))
    floats = clips.float() / 127.5 - 1
    assert not torch.allclose(loaded.mapping(0, 2)(floats), loaded.mapping(0, 1)(floats), rtol=1e-3, atol=1e-5)
    assert loaded.directions == {"to_0": [(1, 0), (2, 0)], "to_1": [(0, 1), (2, 1)], "to_2": [(0, 2), (1, 2)]}


class Later(Clips):
    """The same stream from batch `first` on."""

    first = 0

    def train_dataloader(self):
        return (self.batch(i) for i in range(self.first, self.batches))


@pytest.mark.parametrize(
    "options",
    [dict(n_critic=2, **SMALL_G), dict(game="least_squares", n_critic=1, rec_through=False, **STYLED)],
    ids=["paper", "shipped"],
)
def test_resume_is_exact(tmp_path, options):
    settings = dict(lr_schedule=Schedule("linear", decay_start=0.5, total_steps=5), **TINY, **options)
    straight, half, rest = (StarGAN(**settings) for _ in range(3))
    quiet_trainer(max_steps=5).fit(straight, Later(num_classes=3))
    trainer = quiet_trainer(max_steps=3)
    trainer.fit(half, Later(num_classes=3))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    data = Later(num_classes=3)
    data.first = 3 * options["n_critic"]
    quiet_trainer(max_steps=5).fit(rest, data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    a, b = straight.state_dict(), rest.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], half.state_dict()[k]) for k in a)


def test_bf16_follows_float32():
    totals = []
    for precision in ("32-true", "bf16-mixed"):
        model = StarGAN(**TINY, **SMALL_G)
        with native_kernels():
            quiet_trainer(max_steps=1, precision=precision).fit(model, Clips(num_classes=3))
        assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in model.parameters())
        totals.append([float(model.terms[f"train/{p}_total"]) for p in "dg"])
    assert totals[1] == pytest.approx(totals[0], rel=0.1, abs=0.05)
