"""`vidiff data make | check | info`: what it prints, its exit codes, and that it never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vidiff.command_line import call, functions_of
from vidiff.commands import data as command
from vidiff.errors import RunError, UsageError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VIDIFF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def vidiff_data(*argv):
    return call(functions_of(command), "vidiff data", [str(a) for a in argv])


def strip(path, frames=20, seed=0, smooth=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (32, 32, 3))
    pictures = [pixels + 2 * i if smooth else rng.integers(0, 256, (32, 32, 3)) for i in range(frames)]
    Image.fromarray(np.concatenate(pictures, 1).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for n in range(12):
        strip(tmp_path / "set" / f"class{n % 3}" / f"{n:02d}.png", seed=n)
    (tmp_path / "set" / "README.txt").write_text("about")
    (tmp_path / "set" / "class0" / "broken.mp4").touch()
    return tmp_path / "set"


def test_check_says_what_there_is_and_gives_a_config_that_works(folder, capsys):
    assert vidiff_data("check", folder) == 0
    out = capsys.readouterr().out
    for text in (
        "class folders, strips",
        "12",
        "20 each",
        "32x32 (12)",
        "class1 (4)",
        "class_order",
        "passed over: 1",
        "README.txt",
    ):
        assert text in out
    assert "class0/broken.mp4: empty file" in out
    config = yaml.safe_load(out[out.index("data:\n") :])["data"]
    assert config["class_path"] == "ClipDataModule"
    values = config["init_args"]
    assert values["num_frames"] == 16 and values["resolution"] == 32 and values["num_classes"] == "auto"

    from vidiff.data.datamodule import ClipDataModule
    from vidiff.data.splits import Split

    module = ClipDataModule(**values | {"split": Split(**values["split"]), "num_workers": 0})
    with pytest.warns(UserWarning, match="broken.mp4"):
        assert next(iter(module.train_dataloader()))["clip"].shape == (16, 3, 16, 32, 32)


def test_check_json(folder, capsys):
    assert vidiff_data("check", folder, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] == 12 and report["frames"] == {"min": 20, "median": 20, "max": 20}
    assert report["bad"] == [{"path": "class0/broken.mp4", "reason": "empty file"}] and report["ignored"] == 1
    assert report["passed_over"] == [{"path": "README.txt", "reason": "a text file"}]
    assert report["classes"] == {"class0": 4, "class1": 4, "class2": 4}


def test_check_without_anything_usable(tmp_path, capsys):
    (tmp_path / "broken.mp4").touch()
    (tmp_path / "notes.txt").write_text("hello")
    assert vidiff_data("check", tmp_path) == 1
    captured = capsys.readouterr()
    assert "broken.mp4: empty file" in captured.err and "manifest.csv" in captured.err and not captured.out
    with pytest.raises(UsageError, match="does not exist") as caught:
        vidiff_data("check", tmp_path / "nowhere")
    assert caught.value.exit_code == 2
    with pytest.raises(RunError):
        vidiff_data("info", tmp_path)


def test_check_tells_photographs_from_films(tmp_path, capsys):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 200, (32, 32, 3))
    for name, still in (("film", False), ("photos", True)):
        (tmp_path / name / "x").mkdir(parents=True)
        for i in range(30):
            picture = rng.integers(0, 256, (32, 32, 3)) if still else np.roll(base, i, 1)
            Image.fromarray((base + i if not still else picture).astype(np.uint8)).save(
                tmp_path / name / "x" / f"{i}.png"
            )
        vidiff_data("check", tmp_path / name)
        assert ("--stills" in capsys.readouterr().out) is still
    assert vidiff_data("check", tmp_path / "photos", "--stills") == 0
    out = capsys.readouterr().out
    assert "1 each" in out and "stills: true" in out


def test_photos_of_two_domains_get_a_config_for_photos(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, count in (("trainA", 10), ("trainB", 12), ("testA", 3), ("testB", 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(tmp_path / name / f"{i:04d}.png")
    assert vidiff_data("check", tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    section = report["config"]["data"]
    assert section["class_path"] == "PairDataModule" and report["given_splits"] == {"test": 6, "train": 22}
    assert section["init_args"]["num_frames"] == 1 and section["init_args"]["stills"] is True
    assert vidiff_data("info", tmp_path, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["split_paths"]["test"]) == 6
    assert vidiff_data("check", tmp_path, "--no-stills", "--json") == 0
    assert json.loads(capsys.readouterr().out)["videos"] == 4


def test_names_that_a_terminal_cannot_show(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("x")
    strip(tmp_path / "s.png")
    command_line = [sys.executable, "-m", "vidiff", "data", "check", str(tmp_path)]
    for encoding in ("utf-8", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
        done = subprocess.run(command_line, capture_output=True, text=True, env=environment)
        assert done.returncode == 0 and "caf" in done.stdout and not done.stderr, done.stderr


@pytest.mark.parametrize("folder", ["", "  "])
def test_an_empty_path_is_not_the_current_folder(folder):
    for verb in ("check", "info"):
        with pytest.raises(UsageError, match="the path is empty"):
            vidiff_data(verb, folder)


def test_short_videos_do_not_decide_alone(tmp_path, capsys):
    for n in range(20):
        strip(tmp_path / f"{n:02d}.png", frames=5 if n == 0 else 40, seed=n)
    vidiff_data("check", tmp_path)
    out = capsys.readouterr().out
    assert "num_frames: 16" in out and "1 of 20 videos are shorter than 16 frames" in out


def test_info(folder, capsys):
    assert vidiff_data("info", folder) == 0
    first = capsys.readouterr().out
    assert "train 10, val 1, test 1" in first and "fingerprint  " in first and "unreadable   1" in first
    assert vidiff_data("info", folder, "--json", "--split", '{"group_by": "class_order"}') == 0
    report = json.loads(capsys.readouterr().out)
    assert report["splits"] == {"train": 6, "val": 3, "test": 3} and report["fingerprint"] in first
    assert {Path(p).parts[0] for p in report["split_paths"]["test"]} == {"class0", "class1", "class2"}
    for text in ("{", '{"validation": 0.1}', '{"group_by": "person"}'):
        with pytest.raises(UsageError):
            vidiff_data("info", folder, "--split", text)


def test_make(tmp_path, capsys):
    small = ("--num_frames", 4, "--resolution", 32)
    assert vidiff_data("make", "--output", tmp_path / "a", "--num_videos", 4, *small) == 0
    assert "4 videos of 4 frames, 32 px" in capsys.readouterr().out
    assert len(list((tmp_path / "a").rglob("*.mp4"))) == 4
    two = ("--styles", "plain", "night", "--num_videos", 1, *small)
    assert vidiff_data("make", "--output", tmp_path / "b", *two) == 0
    assert "plain-night" in (out := capsys.readouterr().out) and " dB" in out
    assert vidiff_data("check", tmp_path / "b") == 0
    assert "trainA/ trainB/ folders" in capsys.readouterr().out


def test_torch_is_never_imported(folder):
    code = (
        "import sys; from vidiff.cli import main\n"
        f"for v in ('check', 'info'): assert main(['data', v, {str(folder)!r}]) == 0\n"
        "assert not {'torch', 'lightning', 'kornia'} & set(sys.modules), 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clips", ("videos       7", "120 to 310", "frame_stride: 2")),
        ("dyntex", ("videos       2", "fewer than 3 videos")),
        ("weizmann_actions", ("class folders, strips", "51 to 146, median 63", "4: 0 (9), 1 (9), 3 (9), 4 (9)")),
        ("camvid_240/val", ("folders of frames", "101 each", "240x180")),
        ("sign_digits_64", ("videos       10", "--stills")),
    ],
)
def test_real_folders(name, expected, capsys):
    if not (SHARED / name).is_dir():
        pytest.skip("no real data beside the checkout (../shared/data)")
    assert vidiff_data("check", SHARED / name) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in expected) and "cannot be used" not in out


def test_prepare_writes_a_manifest_that_can_be_checked(tmp_path, capsys):
    for name in ("ido_run", "ido_walk", "eli_run", "eli_walk"):
        strip(tmp_path / "set" / f"{name}.png", seed=len(name))
        (tmp_path / "set" / f"{name}.png").rename(tmp_path / "set" / f"{name}.avi")  # told by its content
    assert vidiff_data("prepare", "weizmann", "--source", tmp_path / "set", "--output", tmp_path / "w.csv") == 0
    out = capsys.readouterr().out
    for text in ("w.csv: 4 lines", "label: run (2), walk (2)", "groups that stay in one split: 2", "data check"):
        assert text in out
    assert vidiff_data("check", tmp_path / "w.csv") == 0 and "CSV manifest" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no recipe 'imagenet'; there are ucf101"):
        vidiff_data("prepare", "imagenet", "--source", tmp_path)
    assert vidiff_data("recipes") == 0
    assert "trainlist01.txt" in capsys.readouterr().out


def test_preview_shows_clips_as_they_are_and_augmented(folder, tmp_path, capsys, monkeypatch):
    import av

    (folder / "class0" / "broken.mp4").unlink()
    config = {
        "model": {"class_path": "DCGAN"},
        "data": {
            "class_path": "ClipDataModule",
            "init_args": {
                "root": str(folder),
                "num_frames": 4,
                "resolution": 16,
                "augment": [{"class_path": "kornia.augmentation.RandomHorizontalFlip", "init_args": {"p": 1.0}}],
            },
        },
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    flipped, strong = tmp_path / "flip.png", tmp_path / "strong.png"
    assert vidiff_data("preview", "--config", tmp_path / "c.yaml", "--num_clips", 2, "--output", flipped) == 0
    assert "2 clips" in capsys.readouterr().out
    page = np.asarray(Image.open(flipped).convert("RGB")).astype(int)
    with av.open(str(flipped.with_suffix(".mp4"))) as video:
        frames = [f.to_ndarray(format="rgb24").astype(int) for f in video.decode(video=0)]
    assert len(frames) == 4
    left, right = frames[0][2:66, 2:66], frames[0][2:66, 68:132]  # two tiles of 64 pixels with gaps of 2
    assert np.abs(left - right[:, ::-1]).mean() < 6 < np.abs(left - right).mean()
    assert page.shape[1] >= 4 * 64
    command_line = ("preview", "--data.root", folder, "--data.augment", "strong")
    command_line += ("--data.num_frames", 4, "--data.resolution", 16)
    assert vidiff_data(*command_line, "--num_clips", 3, "--output", strong) == 0 and strong.is_file()
    for bad, message in (
        (("--output", tmp_path / "x.jpg"), "must end in .png"),
        (("--config", tmp_path / "none.yaml"), "no such file"),
        (("--data.augment", "wild"), "unknown preset"),
        (("--num_clips", 0), "at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            vidiff_data("preview", "--data.root", folder, *bad)


def test_preview_of_two_domains(tmp_path, capsys):
    for domain in "AB":
        for n in range(3):
            strip(tmp_path / "set" / domain / f"{n}.png", seed=n)
    assert vidiff_data("check", tmp_path / "set", "--json") == 0
    section = json.loads(capsys.readouterr().out)["config"]["data"]
    assert section["class_path"] == "PairDataModule" and "num_classes" not in section["init_args"]
    section["init_args"]["num_frames"] = 4
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"data": section}))
    out = tmp_path / "pair.png"
    given = ("--config", tmp_path / "c.yaml", "--data.root", tmp_path / "set")
    assert vidiff_data("preview", *given, "--output", out) == 0
    assert "12 clips" in capsys.readouterr().out and out.with_suffix(".mp4").is_file()
