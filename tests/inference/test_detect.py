"""A detector trained for a moment: written, read, refused, and put before videos of any length."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import torch
from films import frames_of
from safetensors.torch import load_file, save_file

from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.inference import detector_report
from vidiff.inference.detect import overlaid, window_starts
from vidiff.inference.detector import Detector, overlap, place_loss, read_detector, train_detector, write_detector
from vidiff.inference.detector_clips import (
    DetectorConfig,
    LabeledClips,
    labeled_clips,
    read_detector_config,
    resized,
    scenes,
    unseen_clips,
)
from vidiff.inference.detector_report import on_unseen
from vidiff.nn.detector import ClipDetector
from vidiff.video.remux import remux
from vidiff.video.write import write_mp4

TINY = {"class_path": "vidiff.nn.detector.ClipDetector", "init_args": {"width": 4, "blocks": 1}}
NAMES = ["real", "generated", "tampered"]


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    """A detector with the weights that it began with."""
    path = tmp_path_factory.mktemp("detector") / "d.safetensors"
    torch.manual_seed(0)
    write_detector(path, Detector(ClipDetector(3, 4, 1).eval(), NAMES, 8, 16, 1.5, {"network": TINY}))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    write_mp4(path, render_scene(0, 1, frames=21, resolution=48), 8)
    return path


def noise_against_bars(count: int) -> LabeledClips:
    """Clips that any detector tells apart: flat ones, noise, flat ones with a square of noise."""
    draw = torch.Generator().manual_seed(count)
    flat = torch.randint(40, 216, (count, 3, 1, 1, 1), generator=draw).expand(-1, -1, 8, 16, 16).byte()
    noise = torch.randint(0, 256, flat.shape, generator=draw).byte()
    masks = torch.zeros(3 * count, 8, 16, 16)
    masks[count : 2 * count], masks[2 * count :, :, 4:12, 4:12] = 1, 1
    part = torch.where(masks[2 * count :, None].bool(), noise.roll(1, 0), flat)
    labels = torch.arange(3).repeat_interleave(count)
    return LabeledClips(torch.cat([flat, noise, part]), labels, masks, ("",) * (3 * count))


def test_it_learns_what_is_easy_to_learn():
    config = DetectorConfig(generators=["zoo:none"], network=TINY, steps=60, batch_size=12, rate=0.01)
    data, held_out = noise_against_bars(24), noise_against_bars(16)
    detector = train_detector(config, data, held_out)
    probabilities, maps = detector.judge(held_out.clips)
    assert (probabilities.argmax(1) == held_out.labels).double().mean() > 0.9
    assert overlap(maps[32:], held_out.masks[32:]).mean() > 0.5
    again = train_detector(config, data, held_out)
    assert torch.equal(again.judge(held_out.clips)[0], probabilities)  # a function of the seed


def test_the_loss_of_places():
    masks = torch.zeros(2, 4, 8, 8)
    masks[1, :, :4] = 1
    target = torch.nn.functional.avg_pool2d(masks, 2)
    good, bad = place_loss(20 * (2 * target - 1), masks), place_loss(-20 * (2 * target - 1), masks)
    assert 0 <= good < 1e-3 and bad > 10


def test_clips_of_all_classes(capsys):
    config = DetectorConfig(generators=["zoo:anytime-shapes", "zoo:stargan-styles"], num_frames=8)
    a, b = labeled_clips(config, "test", 8), labeled_clips(config, "val", 8)
    assert a.clips.shape == (24, 3, 8, 32, 32) and a.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert a.sources[8:16] == ("AnytimeGAN",) * 4 + ("StarGAN",) * 4
    assert not a.masks[:8].any() and a.masks[8:16].all() and 0 < a.masks[16:].mean() < 0.5
    assert not any(torch.equal(x, y) for x in a.clips for y in b.clips)
    assert torch.equal(a.clips, labeled_clips(config, "test", 8).clips)
    assert resized(torch.zeros(1, 1, 3, 16, 16).byte(), (8, 32, 32)).shape == (1, 3, 8, 32, 32)


def test_a_detector_is_read_as_it_was_written_and_nothing_else_is(ckpt, tmp_path):
    found = read_detector(ckpt)
    assert (found.classes, found.num_frames, found.resolution, found.temperature) == (NAMES, 8, 16, 1.5)
    with pytest.raises(UsageError, match="no such file"):
        read_detector(tmp_path / "gone.safetensors")
    (tmp_path / "words").write_text("words")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("words", "other.safetensors"):
        with pytest.raises(UsageError, match="no detector of `vidiff detect train`"):
            read_detector(tmp_path / name)

    def changed(tensors=None, **fields):
        record = dict(schema="vidiff detector 1", classes=NAMES, num_frames=8, resolution=16, temperature=1.0)
        record |= {"network": TINY} | fields
        save_file(tensors or load_file(ckpt), tmp_path / "c.safetensors", {"vidiff_detector": json.dumps(record)})
        return tmp_path / "c.safetensors"

    assert read_detector(changed()).temperature == 1.0
    large = {"class_path": TINY["class_path"], "init_args": {"width": 40_000}}
    for path, said in (
        (lambda: changed(network={"class_path": "os.system", "init_args": {}}), "which is not called"),
        (lambda: changed(network={"class_path": "torch.nn.Linear", "init_args": {}}), "no detector"),
        (lambda: changed(network=large), "far larger"),
        (lambda: changed(temperature=0), "damaged"),
        (lambda: changed({"x": torch.zeros(1)}), "not those of its network"),
        (lambda: changed({k: v * torch.nan for k, v in load_file(ckpt).items()}), "damaged"),
    ):
        with pytest.raises(RunError, match=said):
            read_detector(path())


@pytest.mark.parametrize("count, length", [(1, 16), (16, 16), (17, 16), (40, 16), (100, 8)])
def test_windows_cover_every_frame(count, length):
    starts = window_starts(count, length)
    covered = {f for s in starts for f in range(s, s + length)}
    assert set(range(count)) <= covered and starts == sorted(set(starts))
    assert all(s + length <= max(count, length) for s in starts)


def test_the_command_judges_a_video_and_shows_where(ckpt, film, tmp_path, capsys):
    assert main(["detect", "video", str(film), "--ckpt", str(ckpt), "--output", str(tmp_path / "heat"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-3) and list(found["probabilities"]) == NAMES
    assert found["windows"][0]["start"] == 0 and found["windows"][-1]["end"] == 21
    heat = frames_of(tmp_path / "heat" / "a.mp4")
    assert heat.shape == (21, 48, 48, 3)
    assert main(["detect", "video", str(film), "--ckpt", str(ckpt)]) == 0
    assert "least real: frames" in capsys.readouterr().out


def test_what_is_said_of_a_film_is_no_part_of_the_json(ckpt, film, tmp_path, capsys):
    remux(film, tmp_path / "whole.mkv", iter)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    words = [
        "detect",
        "video",
        str(tmp_path / "cut.mkv"),
        "--ckpt",
        str(ckpt),
        "--output",
        str(tmp_path / "h"),
        "--json",
    ]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["heat"] and "the rest of it is missing" in err


def test_the_map_is_red_where_it_is_one():
    frame = np.full((8, 8, 3), 100, np.uint8)
    one = torch.zeros(4, 4)
    one[:, 2:] = 1
    (out,) = overlaid([frame], [one])
    assert (out[:, 0] == 100).all() and out[0, -1, 0] > 190 and out[0, -1, 1] < 70


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["video", "gone.mp4", "--ckpt", "CKPT"], 2, "gone.mp4: no such file"),
        (["video", ".", "--ckpt", "CKPT"], 2, "a folder, not a video"),
        (["video", "notes.txt", "--ckpt", "CKPT"], 2, "notes.txt: not a video"),
        (["video", "sound.mp4", "--ckpt", "CKPT"], 1, "sound.mp4: it holds no video stream"),
        (["video", "a.mp4", "--ckpt", "a.mp4"], 2, "no detector of `vidiff detect train`"),
        (["video", "a.mp4", "--ckpt", "CKPT", "--output", "."], 2, "would replace the input"),
        (["train", "gone.yaml", "--output", "d.safetensors"], 2, "gone.yaml: no such file"),
        (["train", "odd.yaml", "--output", "d.safetensors"], 2, "unknown key 'step'. Did you mean 'steps'?"),
        (["train", "none.yaml", "--output", "d.safetensors"], 2, "generators: name at least one"),
        (["train", "none.yaml", "--output", "d.ckpt"], 2, "accepted: .safetensors"),
    ],
)
def test_bad_requests(ckpt, film, tmp_path, monkeypatch, capsys, words, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(film.read_bytes())
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "odd.yaml").write_text("generators: [zoo:anytime-shapes]\nstep: 3\n")
    (tmp_path / "none.yaml").write_text("steps: 3\n")
    with av.open(str(tmp_path / "sound.mp4"), "w") as writer:
        track = writer.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        writer.mux(track.encode(frame))
        writer.mux(track.encode(None))
    before = sorted(tmp_path.rglob("*"))
    assert main(["detect", *(str(ckpt) if w == "CKPT" else w for w in words)]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and sorted(tmp_path.rglob("*")) == before


def test_the_shipped_configuration_is_read():
    config = read_detector_config("experiments/detectors/shapes.yaml")
    assert config.classes == NAMES and all(name.startswith("zoo:") for name in config.generators)
    with pytest.raises(UsageError, match="three names are needed"):
        DetectorConfig(generators=["x"], classes=["real", "fake"])


class Bright(torch.nn.Module):
    """Takes bright clips for real."""

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        real = 10 * clips.mean((1, 2, 3, 4))
        return torch.stack([real, -real, -real], 1), torch.zeros_like(clips[:, 0, :, ::2, ::2])


def test_generators_that_nothing_was_trained_on_are_measured_each_by_itself():
    names = ["zoo:anytime-shapes", "zoo:anytime-motions", "zoo:stargan-styles"]
    config = DetectorConfig(generators=["zoo:cyclegan-day2night"], unseen=names, num_frames=8, held_out_clips=8)
    real = torch.cat([scenes("plain", [n], 5, (8, 32, 32)) for n in range(6)])
    others = torch.full((2, 3, 8, 32, 32), 255).byte()  # of other classes: they count for nothing here
    labels = torch.tensor([0] * 6 + [1, 2])
    test = LabeledClips(torch.cat([real, others]), labels, torch.zeros(8, 8, 32, 32), ("",) * 8)
    detector = Detector(Bright(), NAMES, 8, 32)
    found = on_unseen(config, detector, None, test)
    assert list(found) == ["AnytimeGAN", "AnytimeGAN (zoo:anytime-motions)", "StarGAN"]
    for name, values in zip(names, found.values()):
        made = unseen_clips(config, name)
        assert made.clips.shape == (8, 3, 8, 32, 32) and made.labels.tolist() == [1] * 8 and made.masks.all()
        a, b = (1 - detector.judge(clips)[0][:, 0].double() for clips in (real, made.clips))
        pairs = (b[:, None] > a[None]).double() + 0.5 * (b[:, None] == a[None]).double()
        assert values == {"network": pytest.approx(float(pairs.mean()), abs=1e-9)}
    assert len({round(v["network"], 6) for v in found.values()}) > 1


def test_the_report_of_a_training_has_unseen_generators_where_some_are_named(monkeypatch):
    monkeypatch.setattr(detector_report, "lite0_available", lambda: False)
    what = dict(generators=["zoo:stargan-styles"], num_frames=8, network=TINY, steps=2, batch_size=3)
    config = DetectorConfig(unseen=["zoo:anytime-shapes"], train_clips=8, held_out_clips=8, **what)
    _, report = detector_report.train_and_measure(config, say=lambda text: None)
    assert list(report["unseen"]) == ["AnytimeGAN"] and 0 <= report["unseen"]["AnytimeGAN"]["network"] <= 1
    assert "AnytimeGAN" not in report["network"]["auc"] and "StarGAN" in report["network"]["auc"]
    lines = detector_report.report_lines(report)
    assert lines[lines.index("AUC of unseen generators") + 1].startswith("AnytimeGAN")
