"""The models that are shipped: each is the one of its card, is small enough, and makes what the card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vidiff import zoo
from vidiff.cli import main
from vidiff.data.shapes.render import render_scene
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.inference.spot_check import Scenes, differing, spot_check
from vidiff.models.restorer import Restorer
from vidiff.models.translation import Translator
from vidiff.video.write import write_mp4
from vidiff.zoo.cards import page

ROOT = Path(__file__).resolve().parents[2]
CARDS = {card["name"]: card for card in zoo.all_cards()}
each = pytest.mark.parametrize("name", CARDS)


def test_there_are_some_and_every_file_has_its_card():
    files = {p.stem for p in zoo.FOLDER.glob("*.safetensors")}
    assert files and files == set(CARDS) == {p.stem for p in zoo.FOLDER.glob("*.json")} == set(zoo.names())


@each
def test_a_model_makes_what_its_card_says(name):
    model, check = load_model(f"zoo:{name}", "cpu"), CARDS[name]["check"]
    assert not differing(spot_check(model, Scenes(**check["scenes"])), check["values"])


@each
def test_a_file_is_the_one_of_its_card_and_small(name):
    card, path = CARDS[name], zoo.path_of(f"zoo:{name}")
    assert path == zoo.FOLDER / f"{name}.safetensors" and path.stat().st_size == card["file"]["bytes"] <= 3 * 2**20
    picture = ROOT / "docs" / "zoo" / f"{name}.gif"
    assert picture.stat().st_size <= 300_000
    assert card["limits"] and card["hardware"] and card["license"].startswith("Apache-2.0")
    assert "/home" not in json.dumps(card) and "/tmp" not in json.dumps(card)


def test_together_they_are_small():
    assert sum(p.stat().st_size for p in zoo.FOLDER.glob("*.safetensors")) <= 15 * 2**20


def test_the_page_is_made_of_the_cards():
    """`vidiff zoo add` writes it; this line does too: write_text(Path("docs/zoo.md"), page(zoo.all_cards()))."""
    assert (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8") == page(list(CARDS.values()))


def test_unknown_names_are_told_what_there_is(capsys):
    for words in (
        ["sample", "--ckpt", "zoo:unknown"],
        ["zoo", "unknown"],
        ["fuse", "zoo:unknown", "b", "--output", "c.ckpt"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert all(name in said for name in CARDS)
    with pytest.raises(UsageError, match="unknown model of the zoo 'unknown'"):
        load_model("zoo:unknown")


def test_they_are_listed_and_shown(capsys):
    assert main(["zoo"]) == 0
    listed = capsys.readouterr().out
    for name, card in CARDS.items():
        (line,) = [line for line in listed.splitlines() if line.startswith(f"{name} ")]
        assert card["family"] in line and "MiB" in line and "Apache-2.0" in line
        assert main(["zoo", name]) == 0
        shown = capsys.readouterr().out
        assert card["file"]["sha256"] in shown and card["limits"] in shown and card["data"]["fingerprint"] in shown
    assert main(["zoo", "--name", "x"]) == 2 and main(["zoo", "add"]) == 2


def test_commands_take_them(tmp_path, monkeypatch, capsys):
    """One that makes clips, one that translates and one that restores, where there are such."""
    monkeypatch.chdir(tmp_path)
    kinds = {}
    for name in CARDS:
        model = load_model(f"zoo:{name}", "cpu")
        kinds[isinstance(model, Translator), isinstance(model, Restorer)] = name
    write_mp4(tmp_path / "in.mp4", render_scene(5, 0, "plain", 10, 32))
    for (translates, restores), name in kinds.items():
        if restores:
            words = ["restore", "--ckpt", f"zoo:{name}", "--input", "in.mp4", "--output", "restored.mp4"]
            assert main(words) == 0 and (tmp_path / "restored.mp4").stat().st_size > 0
        elif translates:
            way = next(iter(CARDS[name]["directions"]))
            asked = ["--target", way.removeprefix("to_")] if way.startswith("to_") else ["--direction", way]
            words = ["translate", "--ckpt", f"zoo:{name}", *asked, "--input", "in.mp4", "--output", "out.mp4"]
            assert main(words) == 0 and (tmp_path / "out.mp4").stat().st_size > 0
        else:
            assert main(["sample", "--ckpt", f"zoo:{name}", "--num_clips", "2", "--formats", "npy"]) == 0
            assert (tmp_path / "samples-seed0" / "clips.npy").is_file()
            model = load_model(f"zoo:{name}", "cpu")
            assert torch.equal(model.sample(2, ema=False), model.sample(2))
    name = next(iter(CARDS))
    assert main(["fit", "--config", "experiments/dcgan.yaml", "--ckpt_path", f"zoo:{name}"]) == 2
    assert "no training to continue" in capsys.readouterr().err
