"""`vidiff translate`: what it writes and prints, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from films import check_kept, frames_of, moving_bar
from helpers import quiet_trainer

from vidiff.cli import main
from vidiff.video.write import write_mp4

TINY = dict(num_frames=4, resolution=16, width=4)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    from vidiff.models.cyclegan import CycleGAN
    from vidiff.models.dcgan import DCGAN
    from vidiff.models.stargan import StarGAN

    folder, out = tmp_path_factory.mktemp("checkpoints"), {}
    models = {
        "cyclegan": CycleGAN(pool_size=1, **TINY),
        "stargan": StarGAN(num_classes=3, **TINY),
        "dcgan": DCGAN(latent_dim=4, **TINY),
    }
    for name, model in models.items():
        counts = {"plain": 2, "night": 2, "sketch": 2}
        model.data_record = {"domains": {"train": dict(list(counts.items())[: getattr(model, "num_domains", 0)])}}
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
        out[name] = str(folder / f"{name}.ckpt")
    return out


def test_the_command_translates_a_file(checkpoints, tmp_path, capsys):
    source = moving_bar(tmp_path / "in.mp4", frames=37, size=(50, 34), sound=True)
    common = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(source)]
    assert main([*common, "--output", str(tmp_path / "out.mp4")]) == 0
    assert "37 frames" in capsys.readouterr().out
    check_kept(source, tmp_path / "out.mp4")
    assert main([*common, "--output", str(tmp_path / "back.mp4"), "--direction", "b2a"]) == 0
    assert main([*common, "--output", str(tmp_path / "named.mp4"), "--target", "plain", "--no-ema"]) == 0
    out, back, named = (frames_of(tmp_path / f"{n}.mp4") for n in ("out", "back", "named"))
    assert np.abs(out.astype(int) - back).mean() > 0.5 and np.abs(named.astype(int) - back).mean() < 0.2
    assert main([*common, "--output", str(tmp_path / "both.mp4"), "--compare", "--resolution", "16"]) == 0
    both = frames_of(tmp_path / "both.mp4")
    assert both.shape == (37, 34, 100, 3)
    assert np.abs(both[:, :, :48].astype(int) - frames_of(source)[:, :, :48]).mean() < 6  # each beside its own


def test_tiles_of_a_network_with_statistics_are_faded_and_this_is_said(checkpoints, tmp_path, capsys):
    source = moving_bar(tmp_path / "in.mp4", frames=5, size=(100, 52))
    common = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(source)]
    assert main([*common, "--output", str(tmp_path / "out.mp4"), "--tile", "32"]) == 0
    assert capsys.readouterr().err.count("cross-faded") == 1
    check_kept(source, tmp_path / "out.mp4")
    assert main([*common, "--output", str(tmp_path / "no.mp4"), "--tile", "8"]) == 2
    assert "tile must be at least 16" in capsys.readouterr().err


def test_the_command_translates_a_folder_and_reports_what_failed(checkpoints, tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    moving_bar(tmp_path / "in" / "a.mp4")
    moving_bar(tmp_path / "in" / "a.mkv")
    moving_bar(tmp_path / "in" / "deep" / "b.mp4", frames=3)
    (tmp_path / "in" / "broken.avi").write_bytes(b"no video" * 100)
    command = ["translate", "--ckpt", checkpoints["stargan"], "--input", str(tmp_path / "in"), "--target", "night"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "1 of 4" in said and "broken.avi" in said
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.mp4")}
    assert found == {"a.mp4.mp4", "a.mkv.mp4", "deep/b.mp4"}


@pytest.mark.parametrize(
    "model, arguments, named",
    [
        ("cyclegan", ["--direction", "a2c"], "a2b, b2a"),
        ("cyclegan", ["--target", "dawn"], "plain, night"),
        ("cyclegan", ["--target", "0", "--direction", "a2b"], "not both"),
        ("cyclegan", ["--window", "0"], "window must be at least 1"),
        ("cyclegan", ["--output", "x.gif"], ".mp4, .mov, .mkv"),
        ("cyclegan", ["--input", "gone.mp4"], "gone.mp4"),
        ("stargan", [], "target is needed"),
        ("stargan", ["--target", "3"], "plain, night, sketch"),
        ("dcgan", [], "does not translate"),
    ],
)
def test_usage_errors(checkpoints, tmp_path, monkeypatch, capsys, model, arguments, named):
    monkeypatch.chdir(tmp_path)
    moving_bar(tmp_path / "in.mp4", frames=2)
    common = ["translate", "--ckpt", checkpoints[model], "--input", "in.mp4", "--output", "out.mp4"]
    assert main([*common, *arguments]) == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(checkpoints, tmp_path):
    """Ten times the frames, at most a tenth more memory."""
    code = (
        "import resource, sys, torch\nfrom vidiff.cli import main\ntorch.set_num_threads(1)\n"
        "assert main(sys.argv[1:]) == 0\nprint('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    clip = (torch.rand(3, 600, 64, 64) * 255).to(torch.uint8)
    peaks = []
    for name, frames in (("short", 60), ("long", 600)):
        write_mp4(tmp_path / f"{name}.mp4", clip[:, :frames])
        command = ["translate", "--ckpt", checkpoints["cyclegan"], "--input", str(tmp_path / f"{name}.mp4")]
        command += ["--output", str(tmp_path / f"{name}-out.mp4")]
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(int(done.stdout.split("PEAK")[1]))
    assert peaks[1] < 1.1 * peaks[0]
