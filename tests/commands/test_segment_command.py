"""`vidiff segment`: what it prints, the plan that it writes, and what it refuses with nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from films import frames_of, moving_bar
from makers import write_audio

import vidiff
from vidiff.cli import main
from vidiff.video.provenance import read_provenance


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    moving_bar(tmp_path / "in.mp4", frames=20)
    write_audio(tmp_path / "audio.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "worked.yaml").write_text("segments: []")
    return tmp_path


def test_it_prints_the_segments_and_writes_a_plan(folder, capsys):
    assert main(["segment", "--input", "in.mp4", "--every_frames", "8"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == "2 frames 8 to 16, 0.320 s to 0.640 s".split() and out[-1] == "3 segments in plan.yaml"
    plan = yaml.safe_load((folder / "plan.yaml").read_text())
    assert plan["input"] == "in.mp4" and plan["segments"][2] == {"start": 16, "end": 20, "operation": "keep"}
    assert [(s.start, s.end) for s in vidiff.segment("in.mp4", every=0.4)] == [(0, 10), (10, 20)]
    assert main(["segment", "--input", "in.mp4", "--output", "shots.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 segment in shots.yaml"


def test_segments_as_files(folder):
    assert main(["segment", "--input", "in.mp4", "--every_frames", "8", "--cut", "cuts"]) == 0
    counts = [len(frames_of(path)) for path in sorted((folder / "cuts").iterdir())]
    assert counts == [8, 8, 4]
    assert read_provenance(folder / "cuts" / "in-002.mp4")["comment"].startswith("cut by vidiff")


@pytest.mark.parametrize(
    "given, code, said",
    [
        ({"input": "absent.mp4"}, 2, "no such file"),
        ({"input": "."}, 2, "a folder, not a video"),
        ({"input": "text.mp4"}, 2, "text.mp4 is not a video"),
        ({"input": "empty.mp4"}, 2, "empty.mp4 is not a video"),
        ({"input": "audio.mp4"}, 1, "audio.mp4: it holds no video stream"),
        ({"output": "worked.yaml"}, 2, "worked.yaml is there already"),
        ({"output": "plan.txt"}, 2, "accepted: .yaml, .yml"),
        ({"every": "0"}, 2, "every must be above 0"),
        ({"every": "1", "every_frames": "8"}, 2, "give one of them"),
        ({"cut": "text.mp4"}, 2, "text.mp4 is a file, not a folder"),
        ({"min_frames": "0"}, 2, "min_frames must be at least 1"),
        ({"detector": "best"}, 2, "detector"),
    ],
)
def test_what_is_refused_in_one_line(folder, capsys, given, code, said):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    words = [word for name, value in ({"input": "in.mp4"} | given).items() for word in (f"--{name}", value)]
    assert main(["segment", *words]) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_without_pyscenedetect_the_other_detector_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("vidiff.video.shots.importlib.util.find_spec", lambda name: None)
    assert main(["segment", "--input", "in.mp4", "--detector", "adaptive"]) == 2
    assert "pip install 'vidiff[shots]'; detector color needs nothing" in capsys.readouterr().err
    assert main(["segment", "--input", "in.mp4"]) == 0
