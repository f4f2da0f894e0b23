"""`vidiff overlay`: the composite is its formula, lies where it should, and the film under it stays what it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from films import check_kept, frames_of, moving_bar, toned
from helpers import TINY, quiet_trainer
from makers import write_audio

import vidiff
from vidiff.cli import main
from vidiff.inference.overlay import composed, over
from vidiff.models.dcgan import DCGAN
from vidiff.models.videogan import VideoGAN


def cutout(frames: int = 3, side: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, frames, side, side), dtype=np.uint8))


@pytest.mark.parametrize("clear", [0.0, 0.4])
def test_the_composite_is_its_formula(clear):
    made, frames = cutout(), np.random.default_rng(1).integers(0, 256, (7, 20, 30, 3), dtype=np.uint8)
    out = list(over(made, x=0.5, y=0.4, scale=0.5, clear=clear, step=0.5)(frames))
    for k, (frame, result) in enumerate(zip(frames, out)):
        layer = made[:, (k // 2) % 3].double() / 255
        alpha = ((layer[3:] - clear) / (1 - clear)).clamp(0, 1)
        color = layer[:3] * alpha
        both = F.interpolate(torch.cat([color, alpha])[None], (10, 10), mode="bilinear")[0].permute(1, 2, 0).numpy()
        expected = frame.astype(float)
        inside = expected[3:13, 10:20]
        expected[3:13, 10:20] = 255 * both[..., :3] + (1 - both[..., 3:]) * inside
        assert np.abs(result - expected).max() <= 0.51
    assert len(out) == 7


def test_a_clip_that_has_ended_leaves_the_background():
    frames = np.full((5, 8, 8, 3), 9, np.uint8)
    out = np.stack(list(over(cutout(), scale=1.0, loop=False)(frames)))
    assert (out[:3] != frames[:3]).any((1, 2, 3)).all() and np.array_equal(out[3:], frames[3:])
    again = np.stack(list(over(cutout(), scale=1.0)(frames)))
    assert np.array_equal(again[3], again[0]) and np.array_equal(again[:3], out[:3])


@pytest.mark.parametrize(("top", "left"), [(-2, -3), (5, 6), (-9, 0), (0, 20)])
def test_what_lies_outside_is_cut_off(top, left):
    frame, layer = np.full((8, 9, 3), 50, np.uint8), np.ones((4, 4, 4), np.float32)
    out = composed(frame, layer, top, left)
    expected = frame.copy()
    for y in range(8):
        for x in range(9):
            if 0 <= y - top < 4 and 0 <= x - left < 4:
                expected[y, x] = 255
    assert np.array_equal(out, expected) and (frame == 50).all()


def test_a_film_keeps_its_times_and_its_sound(tmp_path):
    source = toned(tmp_path / "in.mp4", third=6)
    model = VideoGAN(**TINY).eval()
    assert vidiff.overlay(model, source, tmp_path / "out.mp4", sample=2, x=0.25, scale=0.5, fps=24) == 18
    check_kept(source, tmp_path / "out.mp4")
    difference = np.abs(frames_of(tmp_path / "out.mp4").astype(int) - frames_of(source)).mean((0, 3))
    assert difference[12:36, 4:28].mean() > 20 and difference[:, 40:].mean() < 4
    found = vidiff.read_provenance(tmp_path / "out.mp4")
    assert found["marked"] and found["sidecar"]["model"]["family"] == "VideoGAN"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlay")
    for name, model in {"layers": VideoGAN(num_classes=2, **TINY), "plain": DCGAN(**TINY)}.items():
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / f"{name}.ckpt")
    moving_bar(folder / "in.mp4", frames=6)
    write_audio(folder / "audio.mp4")
    (folder / "text.mp4").write_text("no video")
    return folder


def test_the_command_and_alpha_files(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["overlay", "--ckpt", "layers.ckpt", "--background", "in.mp4", "--output", str(tmp_path / "out.mkv")]
    assert main([*words, "--label", "1", "--no-loop", "--fps", "4"]) == 0
    assert capsys.readouterr().out == f"6 frames in {tmp_path / 'out.mkv'}\n"
    words = ["sample", "--ckpt", "layers.ckpt", "--num_clips", "1", "--output", str(tmp_path / "s"), "--formats", "gif"]
    assert main([*words, "--alpha", "mov", "webm"]) == 0
    names = sorted(p.name for p in (tmp_path / "s").iterdir() if p.suffix != ".json")
    assert names == ["00000-alpha.mov", "00000-alpha.webm", "00000.gif"]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"ckpt": "plain.ckpt"}, 2, "DCGAN does not make its clips of a background and a foreground"),
        ({"ckpt": "gone.ckpt"}, 2, "gone.ckpt does not exist"),
        ({"background": "gone.mp4"}, 2, "no such file"),
        ({"background": "text.mp4"}, 2, "not a video"),
        ({"background": "audio.mp4"}, 1, "no video stream"),
        ({"output": "in.mp4"}, 2, "would replace the input"),
        ({"output": "out.webm"}, 2, "accepted: .mp4, .mov, .mkv"),
        ({"scale": "0"}, 2, "scale must be above 0"),
        ({"clear": "1"}, 2, "clear must be at least 0 and below 1"),
        ({"x": "nan"}, 2, "x and y must be numbers"),
        ({"fps": "0"}, 2, "fps must be above 0"),
        ({"label": "2"}, 2, "labels must be from 0 to 1"),
        ({"sample": "-1"}, 2, "sample must be at least 0"),
        ({"num_frames": "9"}, 2, "exactly 4 frames"),
    ],
)
def test_what_is_refused_in_one_line(folder, monkeypatch, capsys, given, code, said):
    monkeypatch.chdir(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    given = {"ckpt": "layers.ckpt", "background": "in.mp4", "output": "out.mp4"} | given
    assert main(["overlay", *(word for name, value in given.items() for word in (f"--{name}", value))]) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
