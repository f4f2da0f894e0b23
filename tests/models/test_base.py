"""The adversarial step: counting, moving average, keyed latents, schedules, guards, sampling, checkpoints."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.models import families
from vidiff.models.dcgan import DCGAN
from vidiff.models.wgan import WGAN
from vidiff.optim import Schedule


class Counter(Callback):
    def __init__(self):
        self.batches, self.steps = 0, []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches += 1
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize(
    "n_critic, g_steps, max_steps, batches", [(1, 1, 12, 12), (5, 1, 4, 20), (1, 2, 6, 3), (2, 3, 5, 4)]
)
def test_a_step_is_a_generator_update(tmp_path, n_critic, g_steps, max_steps, batches):
    model = DCGAN(n_critic=n_critic, g_steps=g_steps, **TINY)
    counter = Counter()
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1, filename="{step}")
    trainer = quiet_trainer(max_steps=max_steps, callbacks=[counter, saver], enable_checkpointing=True)
    trainer.fit(model, Clips())
    assert trainer.global_step == max_steps
    assert counter.batches == batches == model.batches_seen
    assert int(model.generator_ema.n_averaged) == max_steps
    due = [s for s in dict.fromkeys(counter.steps) if s and s % 2 == 0]
    assert sorted(int(p.stem.split("=")[1]) for p in tmp_path.glob("*.ckpt")) == due


def test_discriminator_updates_between_generator_updates():
    """With n_critic 5 the generator stands still on four batches of five, and D never does."""
    model = DCGAN(n_critic=5, **TINY)
    history = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):
            history.append(
                [p.detach().clone() for p in (model.generator.layers[0].weight, model.discriminator.head.weight)]
            )

    quiet_trainer(max_steps=2, callbacks=[Watch()]).fit(model, Clips())
    moved = [[not torch.equal(a, b) for a, b in zip(x, y)] for x, y in zip(history, history[1:])]
    assert [g for g, _ in moved] == [False, False, False, True, False, False, False, False, True]
    assert all(d for _, d in moved)


def test_moving_average_by_hand():
    """EMA after three updates equals the recursion with warm-up, and copies buffers."""
    model = DCGAN(ema_decay=0.9, **TINY)
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):
            seen.append(model.generator.layers[0].weight.detach().clone())

    quiet_trainer(max_steps=3, callbacks=[Watch()]).fit(model, Clips())
    expected = seen[0]
    for n, w in enumerate(seen[1:], 1):
        d = min(0.9, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * w
    torch.testing.assert_close(model.generator_ema.module.layers[0].weight, expected, rtol=1e-6, atol=1e-8)
    norms = (model.generator_ema.module.layers[1], model.generator.layers[1])
    assert torch.equal(norms[0].running_mean, norms[1].running_mean)
    assert not model.generator_ema.training and model.generator.training


def test_half_life_in_clips():
    model = DCGAN(ema_half_life=40.0, **TINY)
    quiet_trainer(max_steps=1).fit(model, Clips(batch_size=4))
    assert model.generator_ema.decay == pytest.approx(0.5 ** (4 / 40), rel=1e-12)


def test_latents_depend_on_the_slot_alone():
    model = DCGAN(**TINY)
    whole = model.latents(range(8), "d", 0)
    assert torch.equal(whole[4:], model.latents(range(4, 8), "d", 0))
    assert not torch.equal(whole, model.latents(range(8), "g", 0))
    assert not torch.equal(whole, DCGAN(seed=1, **TINY).latents(range(8), "d", 0))


def test_weights_are_a_function_of_the_seed():
    torch.manual_seed(3)
    a = DCGAN(seed=5, **TINY)
    torch.manual_seed(4)
    b = DCGAN(seed=5, **TINY)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    assert torch.equal(a.initial_generator().layers[0].weight, a.generator.layers[0].weight)


@pytest.mark.parametrize(
    "schedule, step, factor",
    [
        (Schedule(), 999, 1.0),
        (Schedule("linear", decay_start=10, total_steps=20), 10, 1.0),
        (Schedule("linear", decay_start=10, total_steps=20), 15, 0.5),
        (Schedule("linear", decay_start=10, total_steps=20), 25, 0.0),
        (Schedule("cosine", total_steps=20), 5, 0.5 * (1 + math.cos(math.pi / 4))),
        (Schedule("constant", warmup_steps=4), 0, 0.25),
        (Schedule("constant", warmup_steps=4), 9, 1.0),
    ],
)
def test_schedule(schedule, step, factor):
    assert schedule.factor(step) == pytest.approx(factor, abs=1e-12)


def test_schedule_reaches_the_optimisers():
    model = DCGAN(lr_schedule=Schedule("linear", total_steps=4), **TINY)
    rates = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):
            rates.append([o.param_groups[0]["lr"] for o in model.optimizers()])

    quiet_trainer(max_steps=3, callbacks=[Watch()]).fit(model, Clips())
    # D moves before G in a batch, so both read the factor of the step that is being made.
    assert rates == [pytest.approx([2e-4 * f] * 2) for f in (1.0, 0.75, 0.5)]


def test_schedule_without_an_end_is_refused():
    with pytest.raises(UsageError, match="total_steps"):
        quiet_trainer(max_steps=-1, max_epochs=-1).fit(DCGAN(lr_schedule=Schedule("cosine"), **TINY), Clips(batches=2))


@pytest.mark.parametrize(
    "max_steps, n_critic, g_steps, end", [(-1, 1, 1, 6), (-1, 2, 1, 3), (-1, 1, 2, 12), (2, 1, 1, 2)]
)
def test_a_schedule_ends_with_the_last_epoch(max_steps, n_critic, g_steps, end):
    """As in a plain script: `Trainer(max_epochs=2)`."""
    model = DCGAN(lr_schedule=Schedule("linear"), n_critic=n_critic, g_steps=g_steps, **TINY)
    trainer = quiet_trainer(max_steps=max_steps, max_epochs=2)
    trainer.fit(model, Clips(batches=3))
    assert model.strategies.schedule.total_steps == trainer.global_step == end
    assert model.optimizers()[0].param_groups[0]["lr"] == pytest.approx(2e-4 / end, rel=1e-6)  # of the last step


def test_an_end_that_moves_on_resume_is_said(tmp_path, capsys):
    def run(steps: int, **kwargs) -> None:
        trainer = quiet_trainer(max_steps=steps)
        trainer.fit(DCGAN(lr_schedule=Schedule("linear"), **TINY), Clips(), **kwargs)
        trainer.save_checkpoint(tmp_path / "a.ckpt")

    run(2)
    run(3, ckpt_path=tmp_path / "a.ckpt")
    shown = capsys.readouterr().err
    assert "now reach their end at generator step 3" in shown and "had planned 2" in shown
    run(3, ckpt_path=tmp_path / "a.ckpt")
    assert "reach their end" not in capsys.readouterr().err


def test_frozen_layers_stay_frozen():
    model = DCGAN(**TINY)
    frozen = [model.generator.layers[0].weight, model.discriminator.layers[0].weight]
    free = [model.generator.layers[-2].weight, model.discriminator.head.weight]
    for parameter in frozen:
        parameter.requires_grad_(False)
    before = [p.detach().clone() for p in (*frozen, *free)]
    quiet_trainer(max_steps=2).fit(model, Clips())
    assert [torch.equal(a, b) for a, b in zip(before, (*frozen, *free))] == [True, True, False, False]
    assert {p for p in model.parameters() if not p.requires_grad} >= set(frozen)
    assert all(p.requires_grad for p in free)


def test_weights_that_explode_behind_a_normalisation_stop_the_run():
    """tanh and normalization hide it from every loss."""
    far = lambda p: torch.optim.Adam(p, lr=1e12)  # noqa: E731
    still = lambda p: torch.optim.SGD(p, lr=0.0)  # noqa: E731
    with pytest.raises(RunError, match="g_weight_norm"):
        quiet_trainer(max_steps=4).fit(DCGAN(optimizer_g=far, optimizer_d=still, **TINY), Clips())


def test_a_rate_that_the_optimiser_refuses_is_named():
    with pytest.raises(UsageError, match="model.optimizer_d: Invalid learning rate: -1"):
        model = DCGAN(optimizer_d=lambda p: torch.optim.Adam(p, lr=-1), **TINY)
        quiet_trainer(max_steps=1).fit(model, Clips())


def test_lightnings_own_ddp_is_refused(monkeypatch):
    """It waits for gradients of every parameter; only the command line replaces it by itself."""
    from lightning.pytorch.strategies import DDPStrategy

    from vidiff.models.checks import check_strategy
    from vidiff.parallel import GameStrategy

    class Having:
        def __init__(self, strategy):
            self.strategy = strategy

    with pytest.raises(UsageError, match="GameStrategy"):
        check_strategy(Having(DDPStrategy()))
    check_strategy(Having(DDPStrategy(find_unused_parameters=True)))
    check_strategy(Having(GameStrategy()))


def test_compile_without_a_compiler_is_said_before_training(monkeypatch):
    def fails(function):
        raise RuntimeError("No working C++ compiler found\n\nlong explanation")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(UsageError, match="model.compile: .*No working C\\+\\+ compiler found"):
        quiet_trainer(max_steps=1).fit(DCGAN(compile=True, **TINY), Clips())


def test_gradient_clipping_bounds_the_step():
    """With SGD at rate 1 the parameters move by exactly the clipped gradient norm."""
    sgd = lambda p: torch.optim.SGD(p, lr=1.0)  # noqa: E731
    model = DCGAN(clip_grad_norm=1e-3, optimizer_g=sgd, optimizer_d=sgd, **TINY)
    before = [p.detach().clone() for p in model.discriminator.parameters()]
    quiet_trainer(max_steps=1).fit(model, Clips())
    moved = torch.sqrt(sum((a - b).square().sum() for a, b in zip(before, model.discriminator.parameters())))
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)
    assert float(model.terms["train/d_grad_norm"]) > 1e-3  # the norm that is logged is the one before clipping


def test_non_finite_loss_stops_and_names_the_term():
    class Broken(DCGAN):
        def generator_losses(self, turn):
            return super().generator_losses(turn) | {"odd": torch.tensor(float("nan"))}

    with pytest.raises(RunError, match="g_odd=nan"):
        quiet_trainer(max_steps=3).fit(Broken(**TINY), Clips())


def test_weight_clipping_holds_after_every_step():
    model = WGAN(n_critic=1, weight_clip=0.01, **TINY)
    quiet_trainer(max_steps=2).fit(model, Clips())
    assert max(float(p.detach().abs().max()) for p in model.discriminator.parameters()) <= 0.01
    assert max(float(p.detach().abs().max()) for p in model.generator.parameters()) > 0.01


def test_samples_do_not_depend_on_number_or_batch_size():
    model = DCGAN(**TINY).eval()
    whole = model.sample(5, seed=3)
    assert whole.dtype == torch.uint8 and whole.shape == (5, 3, 4, 16, 16)
    parts = model.sample(5, seed=3, batch_size=2)
    assert (whole.int() - parts.int()).abs().max() <= 1  # float32 rounding of another batch size
    assert not torch.equal(whole, model.sample(5, seed=4))


def test_sampling_leaves_modes_and_global_randomness_alone():
    model = DCGAN(**TINY).train()
    state = torch.get_rng_state()
    model.sample(2, ema=False)
    assert torch.equal(state, torch.get_rng_state()) and model.generator.training


def test_labels_are_checked():
    model = DCGAN(num_classes=3, **TINY)
    assert model.sample(4, labels=[0, 2]).shape[0] == 4
    with pytest.raises(UsageError, match="from 0 to 2"):
        model.sample(1, labels=[3])
    with pytest.raises(UsageError, match="unconditional"):
        DCGAN(**TINY).sample(1, labels=[0])
    with pytest.raises(UsageError, match="exactly 4 frames"):
        model.sample(1, num_frames=9)


def test_conditional_training_uses_the_labels():
    model = DCGAN(num_classes=2, **TINY)
    before = model.discriminator.embed.table.weight.detach().clone()
    quiet_trainer(max_steps=2).fit(model, Clips(num_classes=2))
    assert not torch.equal(before, model.discriminator.embed.table.weight)


@pytest.mark.parametrize("num_classes", [None, 2])
def test_checkpoint_round_trip(tmp_path, num_classes):
    model = DCGAN(num_classes=num_classes, real_label=0.9, ema_decay=0.5, **TINY)
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(model, Clips(num_classes=num_classes))
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    raw = torch.load(path, weights_only=True)
    assert raw["vidiff"]["class_path"] == "vidiff.models.dcgan.DCGAN" and raw["global_step"] == 2
    loaded = load_model(path)
    assert loaded.real_label == 0.9 and not loaded.training
    assert torch.equal(loaded.sample(3, seed=1), model.sample(3, seed=1))


def test_checkpoint_errors(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_checkpoint(tmp_path / "no.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(RunError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(RunError, match="not written by vidiff"):
        read_checkpoint(tmp_path / "other.ckpt")
    torch.save({"vidiff": {"schema": 1, "class_path": "torch.nn.Linear"}}, tmp_path / "linear.ckpt")
    with pytest.raises(RunError, match="version is missing"):
        load_model(tmp_path / "linear.ckpt")


def test_a_network_given_in_python_is_asked_for_again(tmp_path):
    from vidiff.nn.generators import ConvGenerator

    factory = lambda spec: ConvGenerator(spec, norm="instance")  # noqa: E731
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(DCGAN(generator=factory, **TINY), Clips())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match="generator"):
        load_model(tmp_path / "a.ckpt")
    assert load_model(tmp_path / "a.ckpt", generator=factory).sample(1).shape[0] == 1


def test_a_network_from_yaml_travels_in_the_checkpoint(tmp_path):
    """What the command line instantiated from class_path dicts is stored as those dicts and built again from them."""
    from vidiff.nn.generators import ConvGenerator

    model = DCGAN(generator=lambda spec: ConvGenerator(spec, norm="instance"), lr_schedule=Schedule("linear"), **TINY)
    config = {"class_path": "vidiff.nn.generators.ConvGenerator", "init_args": {"norm": "instance"}}
    model.config = {"class_path": "vidiff.models.dcgan.DCGAN", "init_args": {"generator": config}}
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(model, Clips())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_model(tmp_path / "a.ckpt")
    assert isinstance(loaded.generator.layers[1], torch.nn.InstanceNorm3d)
    assert loaded.strategies.schedule.kind == "linear"
    assert torch.equal(loaded.sample(2), model.sample(2))


def test_families_are_found_without_a_list():
    assert families()["DCGAN"] is DCGAN


@pytest.mark.parametrize(
    "bad",
    [
        dict(n_critic=0),
        dict(g_steps=0),
        dict(width=0),
        dict(latent_dim=0),
        dict(num_classes=0),
        dict(ema_decay=1.0),
        dict(ema_decay=-0.1),
        dict(ema_half_life=-5.0),
        dict(clip_grad_norm=0.0),
        dict(term_weights={"adv": math.nan}),
        dict(lr_schedule=Schedule(decay_start=math.inf)),
        dict(resolution=17),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError):
        DCGAN(**{**TINY, **bad})


def test_batch_norm_of_the_average_is_measured_on_the_average():
    """After sampling, the EMA's statistics are those of its own activations, and a second sampling changes nothing."""
    model = DCGAN(ema_decay=0.5, **TINY)
    quiet_trainer(max_steps=4).fit(model, Clips())
    norm = model.generator_ema.module.layers[1]
    copied = norm.running_mean.clone()
    first = model.sample(4, seed=1)
    z = torch.cat([model.latents(range(32 * i, 32 * i + 32), "statistics") for i in range(8)])
    with torch.no_grad():
        x = model.generator_ema.module.layers[0](z[:, :, None, None, None])
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(copied, norm.running_mean) and norm.momentum == 0.1 and not norm.training
    assert torch.equal(first, model.sample(4, seed=1))
    assert torch.equal(model.generator.layers[1].running_mean, copied)


def test_sampling_in_between_does_not_change_training():
    models = [DCGAN(**TINY) for _ in range(2)]

    class Sampling(Callback):
        def on_train_batch_end(self, *_):
            models[1].sample(2)

    quiet_trainer(max_steps=3).fit(models[0], Clips())
    quiet_trainer(max_steps=3, callbacks=[Sampling()]).fit(models[1], Clips())
    assert all(torch.equal(a, b) for a, b in zip(models[0].generator.parameters(), models[1].generator.parameters()))
    assert torch.equal(models[0].sample(2), models[1].sample(2))
