"""Two processes equal one: gradients, BatchNorm, buffers, moving average, evaluation, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import child_environment
from torch import nn

import vidiff
from vidiff.parallel import GlobalBatchNorm3d, GlobalLayerSync, average_gradients

HERE = Path(__file__).parent
SLOW = pytest.mark.slow
FAMILIES = ["DCGAN", "WGAN", "WGANGP", "LSGAN"]


def train(family: str, out: Path, world: int, *more: str) -> list[dict[str, torch.Tensor]]:
    command = [sys.executable, str(HERE / "parallel_worker.py"), family, str(out), "--world", str(world), *more]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(f"{out}.{r}", weights_only=True) for r in range(world)]


def worst(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a)


def check_two_equal_one(family: str, tmp_path: Path, *more: str) -> None:
    (one,) = train(family, tmp_path / "one", 1, *more)
    first, second = train(family, tmp_path / "two", 2, *more)
    assert worst(first, second) == 0.0
    assert worst(one, first) < 1e-12
    (fewer,) = train(family, tmp_path / "fewer", 1, *more, "--steps", "2")
    assert worst(one, fewer) > 1e-6  # the third step moved something


def test_two_processes_equal_one(tmp_path):
    check_two_equal_one("WGANGP", tmp_path)


def test_two_processes_equal_one_for_a_player_alone(tmp_path):
    check_two_equal_one("FlowMatching", tmp_path, "--own")


@SLOW
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "WGANGP"])
def test_two_processes_equal_one_for(family, tmp_path):
    check_two_equal_one(family, tmp_path)


@SLOW
@pytest.mark.parametrize("family", ["DCGAN", "WGAN", "LSGAN"])
def test_global_batch_norm_makes_two_equal_one(family, tmp_path):
    check_two_equal_one(family, tmp_path, "--norm", "batch", "--sync")


@SLOW
@pytest.mark.parametrize(
    "family", ["R3GAN", "LossSensitiveGAN", "VideoGAN", "MoCoGAN", "PGGAN", "MultiPeriodGAN", "StarGAN", "ProjectedGAN"]
)
def test_own_networks_and_labels_make_two_equal_one(family, tmp_path):
    check_two_equal_one(family, tmp_path, "--own", "--sync")


@SLOW
@pytest.mark.parametrize("family, augment", [("DCGAN", "diffaugment"), ("DCGAN", "ada"), ("WGANGP", "ada")])
def test_discriminator_augmentation_makes_two_equal_one(family, augment, tmp_path):
    check_two_equal_one(family, tmp_path, "--augment", augment)


@SLOW
def test_local_batch_norm_differs_but_ranks_agree(tmp_path):
    """The negative control: without sync_batchnorm statistics come from half a batch, but from the same half."""
    (one,) = train("DCGAN", tmp_path / "one", 1, "--norm", "batch")
    first, second = train("DCGAN", tmp_path / "two", 2, "--norm", "batch")
    assert worst(first, second) == 0.0  # parameters, buffers and moving average
    assert worst(one, first) > 1e-6


def test_global_batch_norm_is_batch_norm_on_one_process():
    torch.manual_seed(0)
    reference = nn.BatchNorm3d(3).double()
    ours = GlobalLayerSync().apply(nn.Sequential(nn.BatchNorm3d(3).double()))
    assert type(ours[0]) is GlobalBatchNorm3d and list(ours.state_dict()) == [f"0.{k}" for k in reference.state_dict()]
    x = torch.randn(4, 3, 2, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x), reference(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours[0].running_var, reference.running_var, rtol=1e-12, atol=1e-12)
    assert type(GlobalLayerSync().revert(ours)[0]) is nn.BatchNorm3d


@pytest.mark.parametrize("precision, tolerance", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_global_batch_norm_sums_in_float32(precision, tolerance, monkeypatch):
    """Two equal processes, simulated: sums of half-precision numbers would overflow, or lose the mean."""
    monkeypatch.setattr(vidiff.parallel, "world_size", lambda: 2)
    monkeypatch.setattr(vidiff.parallel._AllReduceSum, "apply", lambda x: 2 * x)
    torch.manual_seed(0)
    x = 3 + torch.randn(8, 2, 8, 32, 32)
    (ours,) = GlobalLayerSync().apply(nn.Sequential(nn.BatchNorm3d(2))).to(precision)
    got, want = ours(x.to(precision)), nn.BatchNorm3d(2)(x.to(precision).float())
    assert got.dtype == precision
    assert (got.float() - want).abs().max() < 4 * tolerance and (got.float() - want).abs().mean() < tolerance


def test_averaging_does_nothing_on_one_process():
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.tensor([1.0, 2.0])
    average_gradients([p, nn.Parameter(torch.ones(1))])
    assert p.grad.tolist() == [1.0, 2.0]


def fit(shapes: Path, run: Path, *more: str, experiment: str = "dcgan") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vidiff", "fit", "--config", f"experiments/{experiment}.yaml"]
    command += ["--config", "experiments/_tiny.yaml", "--data.root", str(shapes), "--run_dir", str(run)]
    command += ["--evaluation.metrics", "fvd_random,motion,diversity", "--evaluation.num_clips", "15", *more]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, cwd=run.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    from vidiff.data.shapes.render import render_dataset

    root = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(root, videos=24, seed=0, frames=12, resolution=32)
    return root


def reports_agree(shapes: Path, tmp_path: Path, experiment: str) -> None:
    """An odd number of clips is scored the same by one and by two processes: the initial generators are equal."""
    fit(shapes, tmp_path / "one", "--trainer.max_steps", "1", experiment=experiment)
    fit(shapes, tmp_path / "two", "--trainer.max_steps", "1", "--trainer.devices", "2", experiment=experiment)
    one, two = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("one", "two"))
    for name, values in one["controls"].items():
        for metric, value in values.items():
            # float32 features of other batch sizes differ in the last bit, nothing else may.
            assert two["controls"][name][metric] == pytest.approx(value, rel=1e-4, abs=1e-9), (name, metric)
    assert one["metrics"]["fvd_random"]["floor"] == pytest.approx(two["metrics"]["fvd_random"]["floor"], rel=1e-4)
    assert two["clips_seen"] == 2 * one["clips_seen"]
    assert {p.name for p in tmp_path.iterdir()} == {"one", "two"}  # process 0 named the folder for both


def test_devices_2_simply_works(shapes, tmp_path):
    reports_agree(shapes, tmp_path, "dcgan")
    assert vidiff.load_model(tmp_path / "two/checkpoints/last.ckpt").sample(1).shape[0] == 1


@SLOW
@pytest.mark.parametrize("experiment", ["wgan", "wgan_gp", "lsgan"])
def test_devices_2_simply_works_for(experiment, shapes, tmp_path):
    reports_agree(shapes, tmp_path, experiment)


@SLOW
def test_resume_on_two_processes_is_exact(shapes, tmp_path):
    two = ("--trainer.devices", "2", "--trainer.max_steps", "4")
    fit(shapes, tmp_path / "straight", *two)
    fit(shapes, tmp_path / "parts", *two[:2], "--trainer.max_steps", "2")
    fit(shapes, tmp_path / "parts", *two, "--ckpt_path", "last")
    assert (tmp_path / "straight/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()
