"""A small embedded set, and run folders as a training leaves them, without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers import TINY
from reports import REPORT

from vidiff.augment.degrade import GaussianNoise
from vidiff.data.preview import datamodule
from vidiff.data.shapes.render import render_dataset, render_domains
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.restoration import Restoration

SIZES = dict(num_frames=4, resolution=16)
ROW = {"psnr": 20.0, "psnr_gain": 9.5, "ssim": 0.8, "controls": {"identity": {"fvd_random": 40.0}}}


def content_of(model: torch.nn.Module) -> dict:
    """What a trainer would save of a model, without training it."""
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    return content


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(root, videos=8, frames=6, resolution=32)
    return root


@pytest.fixture(scope="session")
def domains(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes_ab"
    render_domains(root, videos=4, frames=6, resolution=32, test_videos=4)
    return root


def write_run(folder: Path, model: torch.nn.Module, module: str, root: Path, seed: int, **report) -> Path:
    """A run folder: configuration, report and checkpoint."""
    arguments = {"root": str(root), **SIZES, "batch_size": 4}
    config = {"seed_everything": seed, "model": {"class_path": type(model).__name__, "init_args": {"seed": seed}}}
    config |= {"data": {"class_path": module, "init_args": arguments}, "trainer": {"max_steps": 3}}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    data = datamodule([str(folder / "config.yaml")])
    data.prepare_data()
    model.data_record = data.describe()
    about = {"checkpoint": "best.ckpt", "checkpoint_step": 3, "selection": "lowest fvd_random", "data": data.describe()}
    (folder / "report.json").write_text(json.dumps(REPORT | about | report))
    torch.save(content_of(model), folder / "checkpoints" / "best.ckpt")
    return folder


@pytest.fixture
def generator_run(shapes, tmp_path):
    """generator_run("a", seed=1) -> the folder of a run of a tiny DCGAN."""
    return lambda name, seed=0, root=shapes, **report: write_run(
        tmp_path / name, DCGAN(**TINY, seed=seed), "ClipDataModule", root, seed, **report
    )


@pytest.fixture
def translator_run(domains, tmp_path):
    """The same of a tiny CycleGAN."""
    metrics = {f"fvd_random_{way}": REPORT["metrics"]["fvd_random"] for way in ("a2b", "b2a")}
    rows = {way: ROW | {"sources": [way[0].upper()], "target": way[2].upper()} for way in ("a2b", "b2a")}
    return lambda name, seed=0: write_run(
        tmp_path / name,
        CycleGAN(**SIZES, width=4, seed=seed),
        "PairDataModule",
        domains,
        seed,
        metrics=metrics,
        directions=rows,
    )


@pytest.fixture
def restorer_run(shapes, tmp_path):
    """The same of a tiny Restoration of noise, its last convolution moved away from nothing."""
    methods = {"degraded": {"psnr": 20.0, "ssim": 0.4}, "non_local_means": {"psnr": 24.0, "strength": 9.0}}
    methods |= {"restored": {"psnr": 29.5, "ssim": 0.8, "sharpness": 0.97}}
    controls = {"identity": {"fvd_random": 40.0}, "oracle": {"fvd_random": 0.2}}
    row = ROW | {"sources": ["degraded"], "target": "clean", "sharpness": 0.97, "controls": controls}
    report = dict(methods=methods, directions={"restore": row})
    report |= dict(metrics={"fvd_random_restore": REPORT["metrics"]["fvd_random"]}, controls={})

    def make(name: str, seed: int = 0) -> Path:
        noise = {"class_path": "vidiff.augment.degrade.GaussianNoise", "init_args": {"sigma": [25.0, 25.0]}}
        model = Restoration(degradations=[GaussianNoise()], seed=seed, **SIZES, width=4)
        model.config = {"init_args": {"degradations": [noise]}}
        with torch.no_grad():
            for network in (model.generator, model.generator_ema.module):
                network.layers[-2].space.weight.normal_(0, 0.01, generator=torch.Generator().manual_seed(1))
        return write_run(tmp_path / name, model, "ClipDataModule", shapes, seed, **report)

    return make
