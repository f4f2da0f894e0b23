"""`vidiff restore`: what it writes and prints, and bad input in one line with nothing written."""

from __future__ import annotations

import pytest
from films import check_kept, frames_of, moving_bar
from helpers import TINY, quiet_trainer
from makers import write_audio

from vidiff.cli import main


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    from vidiff.augment.degrade import LowResolution
    from vidiff.models.cyclegan import CycleGAN
    from vidiff.models.restoration import Restoration

    folder, out = tmp_path_factory.mktemp("checkpoints"), {}
    low = {"class_path": "vidiff.augment.degrade.LowResolution", "init_args": {"factor": 2}}
    models = {
        "plain": Restoration(**TINY),
        "2x": Restoration(degradations=[LowResolution(2)], **TINY),
        "cyclegan": CycleGAN(pool_size=1, **TINY),
    }
    models["2x"].config = {"init_args": {"degradations": [low]}}
    for name, model in models.items():
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
        out[name] = str(folder / f"{name}.ckpt")
    return out


def test_the_command_restores_a_file_and_a_folder(checkpoints, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    source = moving_bar(tmp_path / "in" / "a.mp4", frames=9, size=(50, 34), sound=True)
    assert (
        main(["restore", "--ckpt", checkpoints["plain"], "--input", str(source), "--output", str(tmp_path / "a.mp4")])
        == 0
    )
    assert "9 frames in" in capsys.readouterr().out
    check_kept(source, tmp_path / "a.mp4")
    common = ["restore", "--ckpt", checkpoints["2x"], "--input", str(tmp_path / "in")]
    assert main([*common, "--output", str(tmp_path / "large"), "--compare"]) == 0
    assert frames_of(tmp_path / "large" / "a.mp4").shape == (9, 68, 200, 3)


@pytest.mark.parametrize(
    "model, given, code, said",
    [
        ("cyclegan", {}, 2, "CycleGAN does not restore videos"),
        ("plain", {"input": "absent.mp4"}, 2, "no such file"),
        ("plain", {"output": "in.mp4"}, 2, "would replace the input"),
        ("plain", {"output": "out.avi"}, 2, "out.avi"),
        ("plain", {"scale": "9"}, 2, "scale must be from 1 to 4"),
        ("plain", {"window": "2"}, 2, "window 2"),
        ("plain", {"input": "audio.mp4"}, 1, "audio.mp4"),
        ("plain", {"input": "text.mp4"}, 1, "text.mp4"),
        ("plain", {"ckpt": "text.mp4"}, 1, "text.mp4"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    checkpoints, tmp_path, capsys, monkeypatch, model, given, code, said
):
    monkeypatch.chdir(tmp_path)
    moving_bar(tmp_path / "in.mp4", frames=3)
    write_audio(tmp_path / "audio.mp4")
    (tmp_path / "text.mp4").write_text("this is no video")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    options = {"ckpt": checkpoints[model], "input": "in.mp4", "output": "out.mp4"} | given
    assert main(["restore", *[word for name, value in options.items() for word in (f"--{name}", value)]]) == code
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
