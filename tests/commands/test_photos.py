"""Photographs (clips of one frame) train with the configuration that `data check` prints for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vidiff.cli import main


@pytest.fixture
def photos(tmp_path) -> Path:
    """Unpaired photographs as CycleGAN's data sets come: each a colour of its own with coarse noise."""
    draw = np.random.default_rng(0)
    for folder, count in (("trainA", 12), ("trainB", 12), ("testA", 8), ("testB", 8)):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for i in range(count):
            small = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(small).resize((20, 20)).save(tmp_path / "photos" / folder / f"{i:03d}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("experiment", ["cyclegan", "dcgan"])
def test_photos_train_with_the_configuration_that_check_prints(fit, photos, capsys, experiment):
    assert main(["data", "check", str(photos), "--stills", "--json"]) == 0
    config = json.loads(capsys.readouterr().out)["config"]
    config["data"]["init_args"]["resolution"] = 16
    if experiment == "dcgan":
        config["data"]["class_path"] = "ClipDataModule"
    Path("data.yaml").write_text(yaml.safe_dump(config))
    settings = ("--config", "data.yaml", "--trainer.max_steps", "1", "--evaluation.metrics", "fvd_random,diversity")
    assert fit("--run_dir", "r", *settings, experiment=experiment, root=None) == 0
    about = json.loads(Path("r/report.json").read_text())
    assert about["data"]["num_frames"] == 1 and "motion" not in about["selection"]
