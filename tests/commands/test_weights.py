"""`vidiff weights`: the list, a fetch from a stand-in, failures, and no torch."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from vidiff.command_line import call, functions_of
from vidiff.commands import weights
from vidiff.errors import RunError, UsageError
from vidiff.pretrained.weights import WeightsFile


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path / "weights"))
    source = tmp_path / "source.bin"
    source.write_bytes(b"x" * 5000)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    good = WeightsFile("good", "good.bin", sha256, source.as_uri(), "CC0", "nothing", 5000)
    wrong = WeightsFile("wrong", "wrong.bin", "0" * 64, source.as_uri(), "CC0", "nothing")
    monkeypatch.setattr(weights, "MANIFEST", {"good": good, "wrong": wrong})


def run(*words):
    return call(functions_of(weights), "vidiff weights", words)


def test_fetch_then_list(manifest, tmp_path, capsys):
    assert run("list") == 0
    assert capsys.readouterr().out.count("missing, searched") == 2
    assert run("fetch", "good") == 0
    assert (tmp_path / "weights" / "good.bin").read_bytes() == b"x" * 5000
    assert "as expected" in capsys.readouterr().out
    assert run("fetch", "good") == 0
    assert "already here" in capsys.readouterr().out
    assert run("fetch", "good", "--output", str(tmp_path / "other")) == 0
    assert (tmp_path / "other" / "good.bin").is_file()
    (tmp_path / "weights" / "wrong.bin").write_bytes(b"?")
    capsys.readouterr()
    run("list")
    out = capsys.readouterr().out
    assert "WRONG sha256" in out and "good.bin, sha256 as expected" in out


def test_failures_are_one_message(manifest, tmp_path):
    with pytest.raises(RunError, match="expected 0000") as info:
        run("fetch", "wrong")
    assert info.value.exit_code == 1 and not list((tmp_path / "weights").iterdir())
    with pytest.raises(UsageError, match="unknown weights 'i4d'. Accepted: good, wrong"):
        run("fetch", "i4d")


def test_no_torch_is_imported():
    code = (
        "import sys; from vidiff.cli import main; main(['weights', 'list']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'lightning')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "i3d_torchscript.pt" in done.stdout
