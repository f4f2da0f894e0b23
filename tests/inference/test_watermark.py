"""Marked videos: what is hidden is read again, all else stays, and what is no watermark is refused."""

from __future__ import annotations

import json
import re

import av
import numpy as np
import pytest
import torch
from films import check_kept, frames_of, moving_bar, psnr, ramp
from safetensors.torch import load_file, save_file

import vidiff
from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.inference.watermark import SHIPPED, SURE, chance, hexadecimal, key_bits
from vidiff.inference.watermark_training import (
    WatermarkConfig,
    read_mark,
    read_watermark_config,
    textures,
    train_watermark,
    training_clips,
    write_mark,
)
from vidiff.nn.watermark import Watermark
from vidiff.video.provenance import read_provenance
from vidiff.video.write import write_mp4


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_mp4(path, render_scene(50, 1, "sketch", frames=12, resolution=96), 8)
    return path


def test_the_shipped_watermark_is_read_from_a_marked_file_and_not_from_another(source, tmp_path, capsys):
    target, half = tmp_path / "b.mp4", tmp_path / "half.mp4"
    assert main(["watermark", "embed", "--input", str(source), "--output", str(target), "--key", "me"]) == 0
    assert "12 frames in" in capsys.readouterr().out
    check_kept(source, target)
    assert 36 < psnr(frames_of(source), frames_of(target)) < 41  # encoded again, which costs more
    small = frames_of(target)[:, ::2, ::2] // 2 + frames_of(target)[:, 1::2, 1::2] // 2
    write_mp4(half, small, crf=18)
    for path in (target, half):
        (marked,) = vidiff.read_watermark([path], ["me", "you"])
        assert marked.keys[0].matched >= 28 and marked.keys[0].sure and not marked.keys[1].sure
        assert marked.keys[0].p_value == chance(marked.keys[0].matched, 32)
    (plain,) = vidiff.read_watermark([source], ["me"])
    assert not plain.keys[0].sure and 4 <= plain.keys[0].matched <= 27
    assert main(["watermark", "read", str(target), str(source), "--key", "me"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "marked with it" in said[1] and "no mark of it" in said[3]
    assert main(["watermark", "read", str(target), "--json", "--key", "me"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert re.fullmatch("[0-9a-f]{8}", found["message"]) and found["frames"] == 12


def test_a_recording_stays_one_and_a_generated_video_too(source, tmp_path):
    """A mark makes no recording AI generated; what a file said of itself it says still."""
    vidiff.embed_watermark(source, tmp_path / "b.mp4", "me")
    said = read_provenance(tmp_path / "b.mp4")
    assert "watermarked by vidiff" in said["comment"] and not said["marked"] and said["sidecar"] is None
    write_mp4(tmp_path / "made.mp4", render_scene(0, 0, frames=3), comment="AI generated with vidiff 0")
    vidiff.embed_watermark(tmp_path / "made.mp4", tmp_path / "c.mp4", "me")
    assert read_provenance(tmp_path / "c.mp4")["marked"]


def test_sound_and_times_stay_and_folders_go_file_by_file(tmp_path):
    (tmp_path / "in").mkdir()
    moving_bar(tmp_path / "in" / "a.mp4", frames=20, sound=True, gap=2)
    write_mp4(tmp_path / "in" / "b.mp4", ramp(9, 40, 66), 8)
    done = vidiff.embed_watermark(tmp_path / "in", tmp_path / "out", "me")
    assert [one.frames for one in done] == [20, 9]
    check_kept(tmp_path / "in" / "a.mp4", tmp_path / "out" / "a.mp4")
    assert frames_of(tmp_path / "out" / "b.mp4").shape == (9, 40, 66, 3)


def test_frames_come_one_by_one_whatever_they_come_in(source):
    """Batches of frames make no difference, and no more than a few are taken before the first is given."""
    from vidiff.inference.watermark import TOGETHER, frame_marker

    change, taken = frame_marker("me"), []
    frames = frames_of(source)

    def asked():
        for i, frame in enumerate(frames):
            taken.append(i)
            yield frame

    stream = change(asked())
    first = next(stream)
    assert len(taken) == TOGETHER
    alone = next(change(iter(frames[:1])))
    assert np.abs(first.astype(int) - alone).max() <= 1
    assert len(list(stream)) == len(frames) - 1


@pytest.mark.parametrize("words, said", [
    (["embed", "--input", "gone.mp4", "--output", "b.mp4", "--key", "k"], "no such file"),
    (["embed", "--input", "FILM", "--output", "FILM", "--key", "k"], "would replace the input"),
    (["embed", "--input", "FILM", "--output", "b.mp4", "--key", ""], "key: an empty text"),
    (["embed", "--input", "FILM", "--output", "b.mp4", "--key", "k", "--psnr", "70"], "psnr must be from 30 to 50"),
    (["embed", "--input", "FILM", "--output", "b.gif", "--key", "k"], "accepted: .mp4"),
    (["embed", "--input", "FILM", "--output", "b.mp4", "--key", "k", "--ckpt", "x.safetensors"], "no such file"),
    (["read", "gone.mp4"], "no such file"),
    (["read", "words.txt"], "not a video"),
    (["read", "FILM", "--ckpt", "words.txt"], "no watermark of `vidiff watermark train`"),
    (["train", "gone.yaml", "--output", "m.safetensors"], "experiments/watermarks/shapes.yaml"),
    (["train", "bad.yaml", "--output", "m.safetensors"], "stepps"),
    (["train", "low.yaml", "--output", "m.safetensors"], "psnr must be from 20 to 60"),
    (["train", "experiments/watermarks/shapes.yaml", "--output", "m.pt"], "accepted: .safetensors"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(words, said, source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "bad.yaml").write_text("stepps: 3")
    (tmp_path / "low.yaml").write_text("psnr: 3")
    before, film_before = sorted(tmp_path.rglob("*")), source.read_bytes()
    assert main(["watermark", *(str(source) if w == "FILM" else w for w in words)]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before and source.read_bytes() == film_before


def test_sound_alone_is_a_failure_and_leaves_nothing(tmp_path, capsys):
    with av.open(str(tmp_path / "sound.mp4"), "w") as writer:
        track = writer.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        writer.mux(track.encode(frame))
        writer.mux(track.encode(None))
    words = ["--input", str(tmp_path / "sound.mp4"), "--output", str(tmp_path / "b.mp4"), "--key", "k"]
    assert main(["watermark", "embed", *words]) in (1, 2)
    assert main(["watermark", "read", str(tmp_path / "sound.mp4")]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def test_keys_and_chance():
    a, b = key_bits("me", 32), key_bits("you", 32)
    assert set(a.tolist()) == {-1.0, 1.0} and 6 <= int((a == b).sum()) <= 26
    assert hexadecimal(a) == "2744ccd1"  # sha256 of "me"
    assert chance(32, 32) == 2**-32 and chance(0, 32) == 1 and chance(28, 32) < SURE < chance(27, 32)
    assert sum(chance(k, 8) - chance(k + 1, 8) for k in range(8)) + chance(8, 8) == pytest.approx(1)


def test_a_watermark_is_read_as_it_was_written_and_nothing_else_is(tmp_path):
    config, mark, path = WatermarkConfig(bits=16, width=4), Watermark(16, 4, seed=3), tmp_path / "m.safetensors"
    write_mark(path, mark, config)
    found, kept = read_mark(path)
    assert kept == config and not found.training
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, mark.state_dict()[name], rtol=2**-7, atol=0)  # bfloat16

    def changed(tensors=None, **fields):
        record = {"schema": "vidiff watermark 1", "config": {"bits": 16, "width": 4} | fields}
        save_file(tensors or load_file(path), tmp_path / "c.safetensors", {"vidiff_watermark": json.dumps(record)})
        return tmp_path / "c.safetensors"

    assert read_mark(changed())[1].bits == 16
    for make, said in (
        (lambda: changed(bits=8), "not those of its network"),
        (lambda: changed(width=10**9), "width up to"),
        (lambda: changed(odd=1), "odd"),
        (lambda: changed({"x": torch.zeros(1)}), "not those of its network"),
        (lambda: changed({k: v * torch.nan for k, v in load_file(path).items()}), "damaged"),
    ):
        with pytest.raises(RunError, match=said):
            read_mark(make())
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="no watermark"):
        read_mark(tmp_path / "other.safetensors")


def test_a_training_is_a_function_of_its_seed_and_learns_against_its_attacks():
    config = WatermarkConfig(bits=8, width=4, scenes=6, resolution=64, num_frames=4, steps=3, batch_size=2)
    said = []
    once, again = train_watermark(config, said.append), train_watermark(config)
    first = Watermark(8, 4, 0)
    for name, value in once.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert name == "writer.to_rgb" or not torch.equal(value, first.state_dict()[name]), name


def test_training_clips():
    config = WatermarkConfig(scenes=5, resolution=32, num_frames=2, textures=0.4)
    clips = training_clips(config)
    assert clips.shape == (5, 3, 2, 32, 32) and clips.dtype == torch.uint8
    noise = textures(4, (3, 64, 64), torch.Generator().manual_seed(0)).double()
    power = torch.fft.rfft2(noise[:, :, 0] - noise[:, :, 0].mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    assert power[1:4, 1:4].mean() > 20 * power[20:30, 20:30].mean()  # as in pictures, most of it is low
    assert (noise[:, :, 0].std((1, 2, 3)) > 5).all()


def test_what_is_shipped_is_small_and_of_the_shipped_recipe():
    assert SHIPPED.stat().st_size <= 2**20
    assert read_mark(SHIPPED)[1] == read_watermark_config("experiments/watermarks/shapes.yaml")
