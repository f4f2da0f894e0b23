"""What is made carries a key where one is given, and is what it always was where none is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from films import check_kept, frames_of, psnr
from helpers import TINY, quiet_trainer
from PIL import Image
from stand_ins import StyleStandIn

import vidiff
from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import origin_of
from vidiff.inference.interpolate import interpolate_to
from vidiff.inference.marking import TOGETHER, clip_marker, marked
from vidiff.inference.sample import sample_to
from vidiff.models.dcgan import DCGAN
from vidiff.models.restoration import Restoration
from vidiff.video.provenance import Origin, read_provenance, sidecar
from vidiff.video.write import write_mp4

KEY = "films of Ada"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_mp4(path, render_scene(50, 1, "sketch", frames=20, resolution=96), 8)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """An untrained restoration: what it makes is its input."""
    trainer, path = quiet_trainer(max_steps=1), tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.strategy.connect(Restoration(**TINY))
    trainer.save_checkpoint(path)
    return str(path)


def check_marked(path, said: bool = True) -> None:
    """The key is found, another one is not, and the file says that there is one, not which."""
    (read,) = vidiff.read_watermark([path], [KEY, "another"])
    assert read.keys[0].sure and not read.keys[1].sure
    found = read_provenance(path)
    assert found["agrees"] and found["sidecar"]["watermark"] is True and "invisible watermark" in found["comment"]
    assert KEY not in sidecar(path).read_text() + found["comment"]


def check_unmarked(path) -> None:
    (read,) = vidiff.read_watermark([path], [KEY])
    found = read_provenance(path)
    assert not read.keys[0].sure and found["sidecar"]["watermark"] is False and "watermark" not in found["comment"]


@pytest.mark.parametrize("verb", ["translate", "restore"])
def test_what_a_model_makes_of_a_film_carries_the_key(verb, film, checkpoint, tmp_path):
    words = [verb, "--ckpt", checkpoint, "--input", str(film), "--output"]
    assert main([*words, str(tmp_path / "plain.mp4")]) == 0
    assert main([*words, str(tmp_path / "marked.mp4"), "--watermark", KEY]) == 0
    check_marked(tmp_path / "marked.mp4")
    check_unmarked(tmp_path / "plain.mp4")
    check_kept(film, tmp_path / "marked.mp4")
    assert 36 < psnr(frames_of(tmp_path / "plain.mp4"), frames_of(tmp_path / "marked.mp4")) < 41


def test_a_film_in_a_style_carries_the_key(film, tmp_path, monkeypatch):
    monkeypatch.setattr("vidiff.inference.stylize.style_extractor", lambda name: StyleStandIn())
    monkeypatch.setattr("vidiff.inference.stylize.available_extractor", lambda: "vgg16")
    Image.fromarray(frames_of(film)[0][::-1].copy()).save(tmp_path / "look.png")
    words = ["stylize", "--input", str(film), "--style", str(tmp_path / "look.png"), "--iterations", "1"]
    assert main([*words, "--resolution", "32", "--output", str(tmp_path / "a.mp4"), "--watermark", KEY]) == 0
    check_marked(tmp_path / "a.mp4")


def test_samples_carry_the_key_in_what_is_seen_as_a_clip(tmp_path):
    model, formats = vidiff.load_model("zoo:anytime-shapes", "cpu"), ("mp4", "gif", "png", "npy")
    plain, with_key = (
        sample_to(model, tmp_path / name, num_clips=2, formats=formats, watermark=key)
        for name, key in (("plain", None), ("marked", KEY))
    )
    assert [p.name for p in plain] == [p.name for p in with_key]
    for path in with_key:
        if path.suffix in (".mp4", ".gif"):
            check_marked(path)
        else:
            assert path.read_bytes() == (tmp_path / "plain" / path.name).read_bytes()
            assert json.loads(sidecar(path).read_text())["watermark"] is False
    clips = torch.from_numpy(np.load(tmp_path / "plain" / "clips.npy"))
    origin = origin_of(model, 0, command="sample", labels=None, num_frames=None, ema=True)
    write_mp4(tmp_path / "reference.mp4", clips[0], 8, comment=origin.comment())
    assert (tmp_path / "reference.mp4").read_bytes() == (tmp_path / "plain" / "00000.mp4").read_bytes()
    check_unmarked(tmp_path / "plain" / "00000.mp4")
    (morph,) = interpolate_to(model, tmp_path / "morph", [0, 1], steps=4, watermark=KEY)
    check_marked(morph)


def test_without_a_key_nothing_is_touched_and_with_one_memory_does_not_grow():
    change, origin = (lambda frames: iter(frames)), Origin("a model")
    assert marked(None, change, origin) == (change, origin)
    clip, taken = torch.zeros(3, 2, 8, 8, dtype=torch.uint8), []
    assert clip_marker(None, ["npy"])(clip) is clip

    def frames():
        for number in range(10_000):
            taken.append(number)
            yield np.full((32, 32, 3), 90, np.uint8)

    stream = marked(KEY, change, origin)[0](frames())
    for _ in range(20):
        next(stream)
    assert len(taken) <= 20 + TOGETHER


def test_what_carries_no_key_is_refused_before_anything_is_written(tmp_path):
    model = DCGAN(**TINY).eval()
    for formats, key, said in (
        (("npy", "png"), KEY, "mp4 and gif; formats has only npy, png"),
        (("mp4",), "", "empty"),
    ):
        for write in (sample_to, lambda *args, **what: interpolate_to(*args, [0, 1], **what)):
            with pytest.raises(UsageError, match=f"watermark.*{said}"):
                write(model, tmp_path / "s", formats=formats, watermark=key)
    assert not list(tmp_path.iterdir())
