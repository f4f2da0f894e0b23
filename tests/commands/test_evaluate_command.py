"""`vidiff evaluate` on two small folders of real mp4 files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from vidiff.command_line import call
from vidiff.commands.evaluate import evaluate
from vidiff.errors import UsageError
from vidiff.files import TEMPORARY
from vidiff.metrics import WeightsMissing, check_comparable
from vidiff.metrics.protocol import expand
from vidiff.video.write import write_mp4


def write_videos(folder, count, seed, frames=12, size=32, speed=1.0):
    folder.mkdir(parents=True)
    g = np.random.Generator(np.random.PCG64(seed))
    yy, xx = np.mgrid[:size, :size]
    for i in range(count):
        phase, tilt = g.uniform(0, 6, 2)
        waves = [np.sin((xx * np.cos(tilt) + yy * np.sin(tilt)) / 3 + phase + 0.5 * speed * t) for t in range(frames)]
        clip = (127.5 + 100 * np.stack(waves)[None] * g.uniform(0.3, 1, (3, 1, 1, 1))).astype(np.uint8)
        write_mp4(folder / f"{i:03d}.mp4", torch.from_numpy(clip))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    write_videos(root / "real", 10, 1)
    write_videos(root / "fake", 8, 2, frames=8, speed=0.2)
    return root


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("VIDIFF_WEIGHTS_DIR", raising=False)


def run(folders, *more):
    flags = ["--real", str(folders / "real"), "--fake", str(folders / "fake"), "--num_frames", "8", *map(str, more)]
    return call([evaluate], "vidiff evaluate", flags)


def test_values_floors_and_protocols(folders, tmp_path, capsys):
    file = tmp_path / "out" / "r.json"
    names = "fvd_random,motion,diversity,prdc_random"
    assert run(folders, "--metrics", names, "--json", file, "--device", "cpu") == 0
    out = json.loads(file.read_text())["metrics"]
    assert list(out) == expand(names)
    p = out["fvd_random"]["protocol"]
    assert (p["n_real"], p["n_fake"], p["num_frames"], p["resolution"]) == (8, 8, 8, "32x32")
    assert p["frame_stride"] == 1 and p["seed"] == 0 and p["fps"] == 8 and p["dataset"]
    assert p["subset"] == "seeded, 1 clip a video of 8"
    assert out["fvd_random"]["value"] > 0 and out["fvd_random"]["floor"] > 0
    assert 0.05 < out["motion"]["value"] < 0.6  # five times slower waves
    table = capsys.readouterr().out
    assert "fvd_random" in table and out["fvd_random"]["hash"] in table and "bias dominates" in table
    assert not [p for p in file.parent.iterdir() if TEMPORARY.fullmatch(p.name)]

    # Again is the same; another seed is another protocol, and is not compared.
    assert run(folders, "--metrics", names, "--json", file, "--device", "cpu") == 0
    assert json.loads(file.read_text())["metrics"] == out
    assert run(folders, "--metrics", "fvd_random", "--seed", 1, "--json", file, "--device", "cpu") == 0
    other = json.loads(file.read_text())["metrics"]["fvd_random"]
    assert other["value"] != out["fvd_random"]["value"]
    with pytest.raises(UsageError, match="seed: 0 against 1"):
        check_comparable([p, other["protocol"]])


def test_more_clips_than_real_videos_and_another_size(folders, tmp_path):
    small = tmp_path / "small"
    write_videos(small / "real", 3, 1)
    (small / "fake").symlink_to(folders / "fake")
    file = tmp_path / "r.json"
    assert run(small, "--metrics", "motion", "--resolution", 16, "--num_clips", 7, "--json", file) == 0
    p = json.loads(file.read_text())["metrics"]["motion"]["protocol"]
    assert (p["n_real"], p["n_fake"], p["resolution"]) == (7, 7, "16x16")
    assert p["subset"] == "seeded, several clips a video of 3"


def test_floor_of_the_same_number_where_there_are_videos_enough(folders, tmp_path):
    file = tmp_path / "r.json"
    for count, rule, floor_n in ((5, "real against held-out", 5), (6, "half of real against the other half", 3)):
        assert run(folders, "--metrics", "fvd_random", "--num_clips", count, "--json", file) == 0
        p = json.loads(file.read_text())["metrics"]["fvd_random"]["protocol"]
        assert (p["floor_rule"], p["floor_n"]) == (rule, floor_n)


@pytest.mark.parametrize(
    ("flags", "error", "text"),
    [
        (["--metrics", "fvd2048_16f"], WeightsMissing, "i3d_torchscript.pt.*vidiff weights fetch i3d"),
        (["--metrics", "fvd_randm"], UsageError, "Did you mean 'fvd_random'"),
        (["--metrics", "motion", "--num_clips", "9"], UsageError, "num_clips 9.*holds 8"),
        (["--metrics", "motion", "--num_clips", "1"], UsageError, "num_clips must be at least 2, got 1"),
        (["--metrics", "motion", "--resolution", "5000"], UsageError, "5000 x 5000 would take about 12 GB .*at most"),
        (["--metrics", "motion", "--device", "cuda:99"], UsageError, "device cuda:99: "),
        (["--metrics", "motion", "--frame_stride", "3"], UsageError, "at most 12 frames; a clip needs 22"),
    ],
)
def test_refusals(folders, flags, error, text):
    with pytest.raises(error, match=text) as info:
        run(folders, *flags)
    assert info.value.exit_code == 2


@pytest.mark.parametrize("more", [[], ["--per_frame"]])
def test_what_is_left_out_is_named(folders, tmp_path, capsys, more):
    for side, cut, short in (("real", 1, 1), ("fake", 11, 0)):
        shutil.copytree(folders / side, tmp_path / side)
        whole = (folders / side / "000.mp4").read_bytes()
        for n in range(cut):
            (tmp_path / side / f"cut{n}.mp4").write_bytes(whole[:200])
        if short:
            write_mp4(tmp_path / side / "short.mp4", torch.zeros(3, 5, 32, 32, dtype=torch.uint8))
    file = tmp_path / "r.json"
    assert run(tmp_path, "--metrics", "fvd_random", "--num_clips", 4, "--json", file, "--device", "cpu", *more) == 0
    out = json.loads(file.read_text())["left_out"]
    assert [entry["path"] for entry in out["fake"]] == [f"cut{n}.mp4" for n in range(11)]
    said = capsys.readouterr().err
    assert "fake: 11 of 19 files" in said and f"cut0.mp4: {out['fake'][0]['reason']}" in said and "and 1 more" in said
    if more:  # single frames of real videos
        assert [entry["path"] for entry in out["real"]] == ["cut0.mp4"]
    else:
        assert {e["path"]: e["reason"] for e in out["real"]}["short.mp4"] == "5 frames, a clip needs 8"
        assert "real: 2 of 12 files" in said


def test_the_protocol_names_the_decoder(folders, tmp_path):
    found = {}
    for backend in ("pyav", "auto"):
        file = tmp_path / f"{backend}.json"
        assert run(folders, "--metrics", "motion", "--num_clips", 4, "--json", file, "--backend", backend) == 0
        found[backend] = json.loads(file.read_text())["metrics"]["motion"]["protocol"]["decode"]
    rule = "swscale bilinear (antialiased) while decoding by {0}"
    assert found == {
        "pyav": f"crop; real {rule}; generated {rule}".format("pyav"),
        "auto": f"crop; real {rule}; generated {rule}".format("decord"),
    }


@pytest.mark.parametrize("more", [[], ["--per_frame"]])
def test_class_folders_do_not_matter(folders, tmp_path, capsys, more):
    for i, path in enumerate(sorted((folders / "real").iterdir())):
        (tmp_path / "real" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "real" / "ab"[i % 2] / path.name)
    shutil.copytree(folders / "fake", tmp_path / "fake")
    assert run(tmp_path, "--metrics", "fvd_random", "--device", "cpu", "--num_clips", "4", *more) == 0
