"""A trained translation as an augmentation: from the YAML, through `fit`, resumed exactly, and seen by the preview."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from helpers import quiet_trainer

from vidiff.augment import ContentTransform
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import CheckpointTranslation
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.training.evaluation import Evaluation


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory) -> str:
    """A CycleGAN that does something: an untrained one would answer with grey."""
    model = CycleGAN(num_frames=4, resolution=16, width=4, pool_size=1, seed=1)
    g = torch.Generator().manual_seed(0)
    for p in model.generator_ema.module.parameters():
        p.data = torch.randn(p.shape, generator=g) * 0.2
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(model)
    path = tmp_path_factory.mktemp("ckpt") / "cyclegan.ckpt"
    trainer.save_checkpoint(path)
    return str(path)


def augment(ckpt: str, p: float, **init_args) -> list[dict]:
    transform = {
        "class_path": "vidiff.inference.checkpoint.CheckpointTranslation",
        "init_args": {"ckpt": ckpt, **init_args},
    }
    return [{"class_path": "vidiff.augment.ContentTransform", "init_args": {"transform": transform, "p": p}}]


def config(folder: Path, ckpt: str, p: float, **init_args) -> str:
    path = folder / f"content-{p}.yaml"
    path.write_text(yaml.safe_dump({"data": {"init_args": {"augment": augment(ckpt, p, **init_args)}}}))
    return str(path)


def state(run: str) -> dict[str, torch.Tensor]:
    return torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_run_with_a_translation_as_augmentation_resumes_exactly(fit, ckpt, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Evaluation, "report", lambda *_: None)
    monkeypatch.setattr(Evaluation, "evaluate", lambda *_: {})
    given = config(tmp_path, ckpt, 0.5, direction="a2b")
    common = ["--checkpoints.every_n_steps", 2, "--data.clips_per_epoch", 12, "--data.cache", "none"]
    with_it = ["--config", given, *common]
    assert fit(*with_it, "--trainer.max_steps", 4, "--run_dir", "straight") == 0
    assert fit(*with_it, "--trainer.max_steps", 2, "--run_dir", "parts") == 0
    assert fit(*with_it, "--trainer.max_steps", 4, "--run_dir", "parts", "--ckpt_path", "last") == 0
    a, b = state("straight"), state("parts")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert fit(*common, "--data.augment", "none", "--trainer.max_steps", 4, "--run_dir", "without") == 0
    other = state("without")
    assert any(not torch.equal(a[k], other[k]) for k in a)
    assert "CheckpointTranslation" in Path("straight/config.yaml").read_text()


def test_a_wrong_checkpoint_stops_before_training(fit, ckpt, tmp_path, capsys):
    for given in (config(tmp_path, str(tmp_path / "gone.ckpt"), 0.5), config(tmp_path, ckpt, 0.4, direction="a2c")):
        assert fit("--config", given, "--run_dir", "r") == 2
        assert "Traceback" not in capsys.readouterr().err and not Path("r").exists()
    with pytest.raises(UsageError, match="gone.ckpt does not exist"):
        CheckpointTranslation("gone.ckpt")
    with pytest.raises(UsageError, match="a2b, b2a"):
        CheckpointTranslation(ckpt, direction="a2c")


def test_the_preview_shows_it(shapes, ckpt, tmp_path, monkeypatch):
    from vidiff.data import preview

    monkeypatch.chdir(tmp_path)
    made = []
    original = preview.datamodule
    monkeypatch.setattr(preview, "datamodule", lambda *args, **more: made.append(original(*args, **more)) or made[-1])
    sizes = ["--data.root", str(shapes), "--data.num_frames", "4", "--data.resolution", "16", "--num_clips", "2"]
    assert (
        main(["data", "preview", "--config", config(tmp_path, ckpt, 1.0, target="1"), *sizes, "--output", "p.png"]) == 0
    )
    assert Path("p.png").stat().st_size > 0 and Path("p.mp4").stat().st_size > 0
    data = made[0]
    batch = next(iter(data.train_dataloader()))
    shown, plain = (data.to_float(batch, augment=on)["clip"] for on in (True, False))
    expected = CheckpointTranslation(ckpt, direction="a2b")(plain)
    assert torch.allclose(shown, expected, atol=1e-5) and float((shown - plain).abs().mean()) > 0.05


def test_the_function_is_the_models_mapping(ckpt, tmp_path):
    there = CheckpointTranslation(ckpt, direction="b2a")
    clips = torch.rand(2, 3, 5, 16, 20, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(there(clips), there.model.mapping(1, 0)(clips))
    odd = clips[..., :15, :18].double()
    assert there(odd).shape == odd.shape and there(odd).dtype == odd.dtype
    with pytest.raises(UsageError, match="3 channels"):
        there(clips[:, :1])
    unit = (clips + 1) / 2
    once = ContentTransform(there, p=1.0)(unit)
    assert torch.allclose(once, ((there(clips) + 1) / 2).clamp(0, 1), atol=1e-5)
    trainer, model = quiet_trainer(max_steps=1), DCGAN(num_frames=4, resolution=16, width=4, latent_dim=4)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "dcgan.ckpt")
    with pytest.raises(UsageError, match="does not translate"):
        CheckpointTranslation(str(tmp_path / "dcgan.ckpt"))
