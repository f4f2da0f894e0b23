"""Commands that take several films: one that cannot be read is named, the others are done all the same, exit 1."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError
from vidiff.inference.detect import detect
from vidiff.inference.detector import Detector, write_detector
from vidiff.inference.match import build_match_index, find_matches
from vidiff.nn.detector import ClipDetector
from vidiff.video.write import write_mp4


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a detector, an index, two sound films and a broken one."""
    folder = tmp_path_factory.mktemp("several")
    torch.manual_seed(0)
    network = {"class_path": "vidiff.nn.detector.ClipDetector", "init_args": {"width": 4, "blocks": 1}}
    detector = Detector(
        ClipDetector(3, 4, 1).eval(), ["real", "generated", "tampered"], 8, 16, 1.5, {"network": network}
    )
    write_detector(folder / "d.safetensors", detector)
    for name, scene in (("a", 1), ("c", 2)):
        write_mp4(folder / f"{name}.mp4", render_scene(0, scene, frames=16, resolution=64), 8)
    (folder / "b.mp4").write_bytes((folder / "a.mp4").read_bytes()[:600])
    (folder / "known").mkdir()
    shutil.copy(folder / "a.mp4", folder / "known" / "a.mp4")
    build_match_index(folder / "known", folder / "i.safetensors")
    return folder


COMMANDS = {
    "judged": ["detect", "video", "FILES", "--ckpt", "d.safetensors"],
    "compared": ["match", "find", "FILES", "--index", "i.safetensors"],
    "read": ["watermark", "read", "FILES"],
}


def words_of(what: str, files: list[str]) -> list[str]:
    return [w for word in COMMANDS[what] for w in (files if word == "FILES" else [word])]


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_film_is_named_and_the_others_are_done(here, monkeypatch, capsys, what, broken):
    monkeypatch.chdir(here)
    files = ["a.mp4", "c.mp4"]
    files.insert(broken, "b.mp4")
    assert main(words_of(what, files)) == 1
    out, err = capsys.readouterr()
    assert "a.mp4" in out and ("c.mp4" in out or what == "compared") and "b.mp4" not in out
    assert f"1 of 3 files could not be {what}:" in err and "b.mp4" in err and "Traceback" not in err
    assert main([*words_of(what, files), "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert f"1 of 3 files could not be {what}:" in err
    if what != "compared":
        assert [one["video"] for one in found] == files
        assert [bool(one["error"]) for one in found] == [name == "b.mp4" for name in files]


@pytest.mark.parametrize("what", COMMANDS)
def test_one_alone_gives_its_own_error(here, monkeypatch, capsys, what):
    monkeypatch.chdir(here)
    assert main(words_of(what, ["b.mp4"])) == 1
    out, err = capsys.readouterr()
    assert not out and "b.mp4" in err and "files could not" not in err
    assert main(words_of(what, ["a.mp4", "gone.mp4"])) == 2  # the request itself is wrong: nothing is done
    out, err = capsys.readouterr()
    assert not out and "gone.mp4: no such file" in err


def test_maps_of_sound_films_are_written_and_none_of_the_broken_one(here, tmp_path):
    films = [here / "a.mp4", here / "b.mp4", here / "c.mp4"]
    found = detect(films, here / "d.safetensors", tmp_path / "out", say=print)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mp4", "c.mp4"]
    assert [one.heat is None for one in found] == [False, True, False] and "b.mp4" in found[1].error
    with pytest.raises(RunError, match="b.mp4"):
        find_matches(films, here / "i.safetensors")
