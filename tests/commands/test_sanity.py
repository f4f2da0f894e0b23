"""`vidiff sanity`: how far corrupted clips are, and which metrics do not rise with the dose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidiff.cli import main
from vidiff.data.shapes.render import render_dataset
from vidiff.inference.sanity import failures
from vidiff.metrics.corruptions import CORRUPTIONS

QUICK = "--num_clips 12 --num_frames 6 --resolution 16 --device cpu"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sanity") / "shapes"
    render_dataset(folder, videos=16, seed=0, frames=12, resolution=32)
    return folder


def test_real_clips_that_were_made_worse_are_farther_away(root, tmp_path, capsys):
    command = f"sanity --root {root} {QUICK} --json {tmp_path / 's.json'}".split()
    main(command)  # of 12 clips the floor is high, so that a mild dose may be lost in it: no verdict is asked for
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["clips"] == 12 and found["videos"] == [8, 8]
    result = found["metrics"]["clip_distance"]
    assert set(result["corruptions"]) == {c.name for c in CORRUPTIONS} and result["held_out"] > 0
    for name in set(result["corruptions"]) - {"reversed"}:
        assert result["corruptions"][name][-1] > 3 * result["floor"], name
    assert "multiples of the floor" in capsys.readouterr().out


def test_a_metric_that_is_not_monotone_ends_with_1(root, capsys, monkeypatch):
    mild = [c._replace(doses=c.doses[::-1]) for c in CORRUPTIONS if c.name == "noise"]
    monkeypatch.setattr("vidiff.inference.sanity.CORRUPTIONS", mild)
    assert main(f"sanity --root {root} {QUICK} --metrics clip_distance,fvd_random".split()) == 1
    assert "not monotone: clip_distance under noise; fvd_random under noise" in capsys.readouterr().err


def test_what_is_no_distance_is_refused(root, capsys):
    assert main(f"sanity --root {root} {QUICK} --metrics diversity".split()) == 2
    assert "diversity is no distance" in capsys.readouterr().err


def test_failures_are_distances_that_do_not_rise():
    rising = [1.1, 1.3, 2.0, 4.0, 9.0]
    assert failures(1.0, {"noise": rising, "blur": [0.98, *rising[1:]]}) == []
    assert failures(1.0, {"noise": [1.1, 1.3, 2.0, 9.0, 4.0], "shuffled": [1.0] * 5}) == ["noise", "shuffled"]
    assert failures(1.0, {"reversed": [1.0, 1.1, 1.0, 1.2, 1.1]}) == []  # nothing has a direction there
    assert failures(1.0, {"reversed": [1.0, 3.0, 4.0, 3.0, 5.0]}) == ["reversed"]
    assert failures(1.0, {"reversed": [1.0, 3.0, 4.0, 3.0, 5.0]}, held_out=6.0) == []  # other real clips are farther
    assert failures(1.0, {"noise": [1.0, 3.0, 4.0, 3.0, 5.0]}, held_out=6.0) == ["noise"]
