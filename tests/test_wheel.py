"""The built wheel, installed where the checkout cannot be imported, runs from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment that holds the wheel, and sees the packages of this one but not its checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (wheel,) = folder.glob("vidiff-*.whl")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    # Before the packages of this environment are visible: pip would find the checkout installed among them.
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "-q", str(wheel))
    packages = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # A path in a .pth file is searched last, and the .pth files in it (the checkout's is one) are not read.
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env"


@pytest.fixture
def vidiff(environment, tmp_path):
    """vidiff("list") -> what the installed program prints, run in an empty folder."""
    return lambda *words: run(str(environment / "bin" / "vidiff"), *map(str, words), cwd=tmp_path)


def run(*words: str, cwd: Path | None = None) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "VIDIFF_RUN_DIR" and not k.startswith("PYTHON")}
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_package_and_experiments_come_from_the_wheel(environment, vidiff, tmp_path):
    """Every experiment and nothing of the checkout: no tests, no data."""
    program = "import vidiff, vidiff.paths, sys; print(vidiff.__file__, vidiff.paths.experiments_dir(), *sys.path)"
    package, experiments, *path = run(str(environment / "bin" / "python"), "-c", program, cwd=tmp_path).split()
    assert Path(package).is_relative_to(environment) and Path(experiments) == Path(package).parent / "experiments"
    assert str(ROOT) not in path
    shipped, here = ({p.relative_to(d) for p in Path(d).rglob("*.yaml")} for d in (experiments, ROOT / "experiments"))
    assert shipped == here
    models = {p.name for p in (ROOT / "vidiff" / "zoo").iterdir() if p.suffix in (".safetensors", ".json")}
    assert models and models == {p.name for p in (Path(package).parent / "zoo").glob("*.[js]*")}
    table = vidiff("zoo")
    assert all(name.partition(".")[0] in table for name in models)
    listed = vidiff("list")
    assert "DCGAN" in listed and "experiments/cyclegan.yaml" in listed
    assert not (Path(package).parent.parent / "tests").exists()


@pytest.mark.slow
def test_fit_and_translate(vidiff, tmp_path):
    """The tiny overlay trains a translator, which translates a video: nothing that either needs was left out."""
    vidiff("data", "make", "--output", "shapes", "--num_videos", 24, "--num_frames", 12, "--resolution", 32)
    layers = ["--config", "experiments/cyclegan.yaml", "--config", "experiments/_tiny.yaml", "--trainer.max_steps", 2]
    data = ["--data.root", "shapes", "--data.domain_a", "bounce", "--data.domain_b", "orbit"]
    vidiff("fit", *layers, *data, "--evaluation.metrics", "fvd_random,motion", "--run_dir", "r")
    assert (tmp_path / "r" / "report.json").is_file()
    video = next((tmp_path / "shapes").rglob("*.mp4"))
    vidiff("translate", "--ckpt", "r/checkpoints/last.ckpt", "--input", video, "--output", "out.mp4")
    assert (tmp_path / "out.mp4").stat().st_size > 0
