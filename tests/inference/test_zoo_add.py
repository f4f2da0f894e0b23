"""A model of the zoo made of a run: its card says what the run says, and what may not be shipped is refused."""

from __future__ import annotations

import json
import math
import os

import pytest
import torch
from PIL import Image
from reports import REPORT

from vidiff import zoo
from vidiff.data.shapes.render import render_dataset
from vidiff.errors import RunError, UsageError
from vidiff.files import write_json
from vidiff.inference import zoo_add
from vidiff.inference.checkpoint import load_model
from vidiff.inference.finished_run import FinishedRun
from vidiff.inference.spot_check import Scenes, differing, spot_check
from vidiff.inference.zoo_add import add_to_zoo
from vidiff.video.write import write_mp4
from vidiff.zoo.cards import page, row, table, text


def metrics(value: float) -> dict:
    named = {"value": 0.25, "floor": 0.9, "protocol": {}}
    return REPORT["metrics"] | {"fvd_random": {"value": value, "floor": 0.01, "protocol": {}}, "recognizable": named}


def test_a_run_becomes_a_model_with_a_card(generator_run, tmp_path):
    runs = [generator_run(f"r{s}", seed=s, metrics=metrics(v)) for s, v in enumerate((0.5, 0.3, 0.9))]
    out = tmp_path / "out"
    card = add_to_zoo(runs[0], "tiny-shapes", also=runs[1:], limits="it is tiny", hardware="a clock", output=out)
    assert sorted(p.name for p in out.iterdir()) == [f"tiny-shapes.{s}" for s in ("gif", "json", "safetensors")]
    assert zoo.card_of("tiny-shapes", out) == json.loads(json.dumps(card))
    path = zoo.path_of("zoo:tiny-shapes", out)
    assert path.stat().st_size == card["file"]["bytes"] and zoo.sha256_of(path) == card["file"]["sha256"]
    assert [s["seed"] for s in card["seeds"]] == [1, 0, 2]  # best first
    assert (card["shipped_seed"], card["worst_seed"]) == (0, 2)
    assert card["seeds"][0]["criterion"] == pytest.approx(0.3 * 1.1)  # fvd_random x motion
    assert card["measures"]["fvd_random"] == {"value": 0.5, "floor": 0.01} and card["controls"] == REPORT["controls"]
    assert card["data"]["fingerprint"] == FinishedRun(runs[0]).report["data"]["fingerprint"]
    assert str(tmp_path) not in json.dumps(card)
    model = load_model(path, "cpu")
    scenes = Scenes(**card["check"]["scenes"] | {"styles": tuple(card["check"]["scenes"]["styles"])})
    assert spot_check(model, scenes) == pytest.approx(card["check"]["values"])
    shown = page([card]), text(card), table([card])
    assert path.stat().st_mode & 0o044 == (out / "tiny-shapes.json").stat().st_mode & 0o044
    assert all("tiny-shapes" in said and "0.5 (floor 0.01), 25% recognizable" in said for said in (shown[0], shown[2]))
    assert all("it is tiny" in s and "worst is 2" in s and "a clock" in s for s in shown[:2])


def test_a_translation_has_directions_and_pairs(translator_run, tmp_path):
    card = add_to_zoo(translator_run("r"), "day-night", output=tmp_path)
    assert card["makes"] == "translations between plain and night"
    assert set(card["check"]["values"]) == {f"{m}_{w}" for m in ("psnr", "motion") for w in ("a2b", "b2a")}
    assert card["seeds"][0]["values"]["psnr_gain_a2b"] == 9.5
    assert "PSNR gain over the source +9.5, +9.5 dB" in table([card])
    assert "--direction a2b" in text(card) and "night to plain (b2a)" in text(card)
    # 4 rows of source, translation, line, source, translation; twice as many frames as in the training
    with Image.open(tmp_path / "day-night.gif") as picture:
        assert picture.size == (3 * (4 * 16 + 2), 3 * 4 * 16) and picture.n_frames == 8
    assert os.path.getsize(tmp_path / "day-night.gif") <= 300_000


def test_a_restoration_has_methods_and_damaged_scenes(restorer_run, tmp_path):
    runs = [restorer_run(f"r{seed}", seed) for seed in (0, 1)]
    card = add_to_zoo(runs[0], "less-noise", also=runs[1:], output=tmp_path)
    assert card["makes"] == "restorations: gaussian noise undone" and card["check"]["scenes"]["styles"] == ("plain",)
    found = card["check"]["values"]
    assert set(found) == {"psnr_damaged", "psnr_restore", "motion_restore", "change_restore"}
    # noise of 25 / 255, some of it clamped away
    assert -20 * math.log10(25 / 255) < found["psnr_damaged"] < -20 * math.log10(25 / 255) + 1
    assert found["psnr_restore"] != pytest.approx(found["psnr_damaged"], abs=0.01)
    assert "PSNR gain over the damaged clip +9.5 dB" in table([card])
    command = "vidiff restore --ckpt zoo:less-noise --input in.mp4 --output out.mp4"
    for said in (page([card]), text(card)):
        words = said.replace("|", " ").split("\n")
        assert any(command in line for line in words)
        (nlm,) = [line.split() for line in words if "non-local means (h = 9)" in line]
        assert nlm[-6:] == ["24", *5 * "-"]
        (own,) = [line.split() for line in words if line.split()[:1] == ["network"]]
        assert own == ["network", "29.5", "0.8", "-", "-", "0.97", "0.5"]
    with Image.open(tmp_path / "less-noise.gif") as picture:
        assert picture.size == (3 * (3 * 16 + 2), 3 * 4 * 16) and picture.n_frames == 4


def test_pictures_fit(tmp_path, monkeypatch):
    """Noise, which cannot be packed: with fewer frames; what is too large even so leaves no file."""
    noise = torch.randint(0, 256, (3, 16, 64, 64), dtype=torch.uint8)
    monkeypatch.setattr(zoo_add, "LARGEST_PICTURE", 25_000)
    zoo_add._write_picture(tmp_path / "a.gif", noise)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.size == (64, 64) and 1 < picture.n_frames < 16
    assert os.path.getsize(tmp_path / "a.gif") <= 25_000
    monkeypatch.setattr(zoo_add, "LARGEST_PICTURE", 1000)
    with pytest.raises(RunError, match="too large for a picture"):
        zoo_add._write_picture(tmp_path / "b.gif", noise[..., :32, :32])
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_damaged_weights_are_noticed(generator_run, translator_run, restorer_run, tmp_path):
    """The numbers of the card are those of its weights: other weights give others, the same ones do not."""
    for name, run in (("g", generator_run("g")), ("t", translator_run("t")), ("r", restorer_run("r"))):
        card = add_to_zoo(run, name, output=tmp_path)
        scenes = Scenes(**card["check"]["scenes"])
        model = load_model(tmp_path / f"{name}.safetensors", "cpu")
        assert not differing(spot_check(model, scenes), card["check"]["values"])
        for parameter in model.generator_ema.parameters():
            parameter.mul_(1.2)
        assert differing(spot_check(model, scenes), card["check"]["values"])
    assert differing({"a": 1.0}, {"a": 1.0, "b": 1.0}) == ["b is not there"]
    assert differing({"a": 1.03}, {"a": 1.0}) and not differing({"a": 1.01}, {"a": 1.0})
    assert differing({"a": float("nan")}, {"a": 1.0})


def test_panoramas_are_embedded_too(generator_run, tmp_path):
    """They are drawn by another renderer than flat scenes, and their card says their shape."""
    render_dataset(tmp_path / "round", videos=4, frames=6, resolution=32, projection="equirectangular")
    card = add_to_zoo(generator_run("p", root=tmp_path / "round"), "p", output=tmp_path / "out")
    assert card["data"]["record"]["projection"] == "equirectangular"
    assert row(card)[3] == "4 of 16x16"  # its network is flat
    card["config"]["data"]["init_args"]["projection"] = "equirectangular"
    assert row(card)[3] == "4 of 16x32 (equirectangular)"


def test_other_data_are_refused(generator_run, shapes, tmp_path):
    others = tmp_path / "others"
    render_dataset(others, videos=4, frames=6, resolution=32)
    run = generator_run("r", root=others)
    add_to_zoo(run, "a", output=tmp_path / "out")
    record = json.loads((others / "shapes.json").read_text())
    (others / "shapes.json").unlink()
    with pytest.raises(UsageError, match="not on an embedded set"):
        add_to_zoo(run, "b", output=tmp_path / "out")
    write_json(others / "shapes.json", record | {"seed": 1})  # these are not the scenes of that seed
    with pytest.raises(UsageError, match="not what the renderer"):
        add_to_zoo(run, "b", output=tmp_path / "out")
    write_json(others / "shapes.json", record)
    video = sorted(others.rglob("*.mp4"))[0]
    write_mp4(video, torch.zeros(3, 6, 32, 32, dtype=torch.uint8))
    with pytest.raises(UsageError, match="not what the renderer"):
        add_to_zoo(run, "b", output=tmp_path / "out")
    write_mp4(others / "mine.mp4", torch.zeros(3, 6, 32, 32, dtype=torch.uint8))
    with pytest.raises(UsageError, match="not what the renderer"):
        add_to_zoo(run, "b", output=tmp_path / "out")
    run = generator_run("s")
    report = FinishedRun(run).report
    write_json(run / "report.json", report | {"data": report["data"] | {"fingerprint": "0123"}})
    with pytest.raises(UsageError, match="was 0123 in the run"):
        add_to_zoo(run, "b", output=tmp_path / "out")
    assert zoo.names(tmp_path / "out") == ["a"]


def test_what_cannot_be_shipped_leaves_nothing(generator_run, translator_run, tmp_path, monkeypatch):
    run, out = generator_run("r"), tmp_path / "out"

    def refused(said: str, run=run, name="x", **more) -> None:
        with pytest.raises((UsageError, RunError), match=said):
            add_to_zoo(run, name, output=out, **more)
        assert not out.exists() or not [p for p in out.iterdir() if p.stem == "x"]

    for name in ("Upper", "a_b", "../x", "", "add", "-x"):
        refused("small letters", name=name)
    refused("holds no config.yaml", tmp_path)
    refused("has the seed 0, as another run", also=[generator_run("same")])
    refused("not the same training", also=[translator_run("other", seed=4)])
    refused("is of step 3, the report of another", generator_run("step", checkpoint_step=2))
    refused("which is not in checkpoints/", generator_run("gone", checkpoint="other.ckpt"))
    refused("has no fvd_random", generator_run("lead", metrics={}))
    monkeypatch.setattr(zoo, "LARGEST", 1000)
    refused("at most 0 are shipped: train a smaller --model.width")
    monkeypatch.undo()
    add_to_zoo(run, "first", output=out)
    monkeypatch.setattr(zoo, "LARGEST_TOGETHER", os.path.getsize(out / "first.safetensors") + 10)
    refused("all models have .* remove one")
    add_to_zoo(run, "first", output=out)  # in its own place
    (out / "first.safetensors").write_bytes(b"x")
    with pytest.raises(RunError, match="first.safetensors is damaged"):
        zoo.path_of("zoo:first", out)
    with pytest.raises(UsageError, match="Did you mean 'first'"):
        zoo.path_of("zoo:furst", out)
