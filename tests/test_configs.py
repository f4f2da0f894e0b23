"""Files of settings: where they are looked for, what a section holds, older names."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidiff.configs import ConfigFile, find_experiment, read_config
from vidiff.errors import UsageError
from vidiff.paths import experiments_dir


def test_a_file_that_is_not_here_is_a_shipped_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = experiments_dir() / "dcgan.yaml"
    assert find_experiment("experiments/dcgan.yaml") == find_experiment("dcgan.yaml") == shipped
    Path("dcgan.yaml").write_text("model: {width: 3}\n")
    assert find_experiment("dcgan.yaml") == Path("dcgan.yaml") and find_experiment("no.yaml") is None
    assert read_config("dcgan.yaml").content == {"model": {"width": 3}}
    with pytest.raises(UsageError, match="Did you mean 'experiments/dcgan.yaml'"):
        read_config("experiments/dcgn.yaml")


@pytest.mark.parametrize(
    "given, section",
    [
        (None, {"init_args": {}}),
        ("DCGAN", {"class_path": "DCGAN", "init_args": {}}),
        ({"width": 3}, {"init_args": {"width": 3}}),
        ({"class_path": "DCGAN"}, {"class_path": "DCGAN", "init_args": {}}),
        ({"class_path": "DCGAN", "init_args": {"width": 3}}, {"class_path": "DCGAN", "init_args": {"width": 3}}),
    ],
)
def test_a_section_is_a_class_its_arguments_or_both(given, section):
    assert ConfigFile("a.yaml", Path("a.yaml"), {"model": given}).section("model") == section


def test_a_section_that_is_neither():
    with pytest.raises(UsageError, match="--config a.yaml: data: must hold class_path"):
        ConfigFile("a.yaml", Path("a.yaml"), {"data": [1]}).section("data")


def test_older_class_names(tmp_path):
    old = tmp_path / "config.yaml"
    old.write_text("model: {class_path: vidiff.models.ls_gan.LossSensitiveGAN}\n")
    assert read_config(str(old)).section("model")["class_path"] == "vidiff.models.loss_sensitive.LossSensitiveGAN"
