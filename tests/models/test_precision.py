"""Mixed precision and compilation: bf16 where it works, fp16 with an explicit scaler, eager penalties."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from helpers import TINY, Clips, native_kernels, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision

from vidiff.cli import main
from vidiff.errors import RunError, UsageError
from vidiff.models.adversarial_flow import AdversarialFlow
from vidiff.models.autoencoder import Autoencoder
from vidiff.models.dcgan import DCGAN
from vidiff.models.flow import FlowMatching
from vidiff.models.lsgan import LSGAN
from vidiff.models.projected import ProjectedGAN
from vidiff.models.r3gan import R3GAN
from vidiff.models.wgan import WGAN
from vidiff.models.wgan_gp import WGANGP

FAMILIES = [
    partial(DCGAN, n_critic=1),
    partial(LSGAN, n_critic=1),
    partial(WGAN, n_critic=1),
    partial(WGANGP, n_critic=1),
    partial(R3GAN, penalty="approximate"),
    partial(ProjectedGAN, features="none"),
    FlowMatching,
    AdversarialFlow,
    Autoencoder,
]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true", "16-true"])
def test_half_precision_on_a_cpu_is_refused(precision):
    """With AVX-512 these kernels return 1e24 to NaN; other CPUs refuse, too: a run means the same everywhere."""
    with pytest.raises(UsageError, match="precision .*: use 32-true"):
        quiet_trainer(max_steps=1, precision=precision).fit(DCGAN(**TINY), Clips())


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_full_precision_trains(precision):
    trainer = quiet_trainer(max_steps=1, precision=precision)
    trainer.fit(DCGAN(**TINY), Clips())
    assert trainer.global_step == 1


def test_fit_refuses_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    arguments = ["--config", "experiments/dcgan.yaml", "--config", "experiments/_tiny.yaml"]
    arguments += ["--data.root", str(tmp_path / "videos"), "--run_dir", str(tmp_path / "run")]
    assert main(["fit", *arguments, "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "precision bf16-mixed" in error and "32-true" in error and "diverged" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: getattr(f, "func", f).__name__)
def test_bf16_follows_float32(family):
    """Two steps in bf16-mixed: finite, moved, and the losses near those of float32."""
    terms = []
    for precision in ("32-true", "bf16-mixed"):
        model = family(**TINY)
        with native_kernels():
            quiet_trainer(max_steps=2, precision=precision).fit(model, Clips())
        assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in model.parameters())
        terms.append({k: float(v) for k, v in model.terms.items()})
    for k in {"train/d_total", "train/g_total"} & set(terms[0]):
        assert terms[1][k] == pytest.approx(terms[0][k], rel=0.1, abs=0.05)


def half(scale: float = 1024.0) -> MixedPrecision:
    """fp16 on the CPU; without the explicit scaler Lightning would quietly run bf16 there."""
    return MixedPrecision("16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))


def test_fp16_gradients_are_unscaled_where_they_are_measured():
    norms = []
    for more in (dict(precision="32-true"), dict(plugins=[half()])):
        model = WGANGP(n_critic=1, clip_grad_norm=1e6, **TINY)
        with native_kernels():
            quiet_trainer(max_steps=1, **more).fit(model, Clips())
        norms.append(float(model.terms["train/d_grad_norm"]))
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_fp16_overflow_skips_one_player_and_lowers_the_scale():
    """An infinite gradient of D costs D its step and halves the scale; G moves, and the step is counted."""
    plugin = half(scale=2.0**14)
    model = DCGAN(**TINY)
    model.discriminator.head.weight.register_hook(lambda g: torch.full_like(g, math.inf))

    class Watch(Callback):
        def on_train_start(self, *_):
            self.before = [next(n.parameters()).detach().clone() for n in (model.discriminator, model.generator)]

    watch = Watch()
    trainer = quiet_trainer(max_steps=1, plugins=[plugin], callbacks=[watch])
    with native_kernels():
        trainer.fit(model, Clips())
    after = [next(n.parameters()) for n in (model.discriminator, model.generator)]
    assert torch.equal(watch.before[0], after[0]) and not torch.equal(watch.before[1], after[1])
    assert plugin.scaler.get_scale() == 2.0**13 and trainer.global_step == 1


def test_infinite_gradient_without_a_scaler_stops_the_run():
    model = DCGAN(**TINY)
    model.discriminator.head.weight.register_hook(lambda g: torch.full_like(g, math.inf))
    with pytest.raises(RunError, match="d_grad_norm=inf"):
        quiet_trainer(max_steps=1).fit(model, Clips())
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("family", [DCGAN, WGANGP])
def test_compiled_networks_train_and_keep_their_keys(family):
    """`compile: true` with the default backend: same losses as eager, penalties included, same checkpoint keys."""
    terms, keys = [], []
    for compiled in (False, True):
        model = family(n_critic=1, compile=compiled, **TINY)
        quiet_trainer(max_steps=2).fit(model, Clips())
        terms.append({k: float(v) for k, v in model.terms.items()})
        keys.append(list(model.state_dict()))
    assert keys[0] == keys[1]
    for k in {"train/d_total", "train/g_total"} & set(terms[0]):
        assert terms[1][k] == pytest.approx(terms[0][k], rel=1e-3)
