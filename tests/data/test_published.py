"""Published layouts, as tiny fakes: the manifest is right, nothing is copied, and the manifest can be trained from."""

from __future__ import annotations

import csv
import json
import warnings

import numpy as np
import pytest

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.domains import PairDataModule
from vidiff.data.index import build_index
from vidiff.data.published import KTH_PERSONS, RECIPES, prepare
from vidiff.data.splits import make_splits
from vidiff.errors import UsageError


@pytest.fixture(scope="module")
def video(make, tmp_path_factory):
    """Copies of one small video, told apart by bytes after its end."""
    whole = make.video(tmp_path_factory.mktemp("one") / "v.avi", codec="mpeg4", frames=8).read_bytes()
    count = iter(range(10**6))

    def put(*paths):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole + b"%06d" % next(count))

    return put


def rows_of(out):
    with open(out, newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def parts(index):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {k: [index.entries[i] for i in v] for k, v in make_splits(index).items()}


def test_ucf101(video, tmp_path):
    names = [f"{c}/v_{c}_g{g:02d}_c{n:02d}" for c in ("Archery", "YoYo") for g in (1, 8, 9, 10) for n in (1, 2)]
    video(
        *(tmp_path / "UCF-101" / f"{name}.avi" for name in names), tmp_path / "UCF-101" / "YoYo" / "v_YoYo_g25_c01.avi"
    )
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 YoYo\n")
    (lists / "testlist01.txt").write_text("".join(f"{n}.avi\r\n" for n in names if "_g01_" in n))
    train = [n for n in names if "_g01_" not in n] + ["YoYo/v_YoYo_g11_c07"]
    (lists / "trainlist01.txt").write_text("".join(f"{n}.avi 1\n" for n in train))
    out, found = prepare("ucf101", tmp_path)
    assert out == tmp_path / "manifest.csv" and len(found.rows) == 16
    assert found.notes[0].startswith("1 videos are in neither") and "v_YoYo_g11_c07" in found.notes[1]
    row = rows_of(out)["UCF-101/YoYo/v_YoYo_g01_c02.avi"]
    assert (row["label"], row["split"], row["group"]) == ("YoYo", "test", "YoYo_g01")
    split = parts(build_index(tmp_path))
    assert {e.group[-3:] for e in split["test"]} == {"g01"} and len(split["test"]) == 4
    assert not {e.group for e in split["val"]} & {e.group for e in split["train"]} and split["val"]
    data = ClipDataModule(tmp_path, num_frames=4, resolution=16, num_classes=2, num_workers=0, batch_size=2)
    assert next(iter(data.train_dataloader()))["clip"].shape == (2, 3, 4, 16, 16)
    (lists / "testlist01.txt").unlink()
    with pytest.raises(UsageError, match="no testlist01.txt in it"):
        prepare("ucf101", tmp_path)


def test_sky_timelapse(make, tmp_path):
    top = tmp_path / "archive" / "sky_timelapse"
    for split, videos in (("train", ("aa", "bb", "cc")), ("test", ("dd",))):
        for name in videos:
            for clip in (1, 2):
                make.frames(top / f"sky_{split}" / name / f"{name}_{clip}", frames=3)
    out, found = prepare("sky_timelapse", tmp_path, tmp_path / "lists" / "sky.csv")
    rows = rows_of(out)
    assert len(rows) == 8 and set(next(iter(rows.values()))) == {"path", "split", "group"}
    row = rows["../archive/sky_timelapse/sky_train/bb/bb_2"]
    assert (row["split"], row["group"]) == ("train", "bb")
    index = build_index(out)
    assert {e.kind for e in index.entries} == {"frames"} and len(index.entries) == 8 and not index.bad
    split = parts(index)
    assert {e.group for e in split["test"]} == {"dd"} and len(split["val"]) == 2  # both clips of one video


def test_weizmann(video, tmp_path):
    names = ["daria_bend", "lena_run1", "lena_run2", "ido_wave1", "ido_wave2", "eli_pjump", "eli_jump", "moshe_skip"]
    video(*(tmp_path / n.split("_")[1].rstrip("12") / f"{n}.avi" for n in names), tmp_path / "other.avi")
    out, found = prepare("weizmann", tmp_path)
    got = {(r["group"], r["label"]) for r in rows_of(out).values()}
    assert len(found.rows) == 8 and got == {
        ("daria", "bend"), ("lena", "run"), ("ido", "wave1"), ("ido", "wave2"), ("eli", "pjump"), ("eli", "jump"),
        ("moshe", "skip"),
    }  # fmt: skip
    assert "split" not in next(iter(rows_of(out).values()))


def test_kth(video, tmp_path):
    people = [p for persons in KTH_PERSONS.values() for p in persons]
    assert sorted(people) == list(range(1, 26)) and [len(p) for p in KTH_PERSONS.values()] == [8, 8, 9]
    names = [f"{a}/person{p:02d}_{a}_d1_uncomp.avi" for a in ("boxing", "walking") for p in (11, 12, 1, 22)]
    video(*(tmp_path / n for n in names))
    out, _ = prepare("kth", tmp_path)
    rows = rows_of(out)
    for name, split in ((names[0], "train"), (names[2], "val"), (names[7], "test")):
        assert rows[name]["split"] == split and rows[name]["label"] == name.split("/")[0]
    assert rows[names[7]]["group"] == "person22"
    assert [len(p) for p in parts(build_index(tmp_path)).values()] == [4, 2, 2]


def test_moving_mnist(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (20, 30, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "mnist_test_seq.npy", array)
    out, found = prepare("moving_mnist", tmp_path)
    assert (
        rows_of(out) == {"mnist_test_seq.npy": {"path": "mnist_test_seq.npy"}} and "30 videos of 20" in found.notes[0]
    )
    for root in (tmp_path, tmp_path / "mnist_test_seq.npy"):  # with and without a manifest
        if root != tmp_path:
            out.unlink()
        index = build_index(tmp_path)
        assert len(index.entries) == 30 and {e.num_frames for e in index.entries} == {20}
        assert len({e.sha256 for e in index.entries}) == 30
    data = ClipDataModule(
        tmp_path, num_frames=10, resolution=64, channels=1, num_workers=0, batch_size=8, clips_per_epoch=24
    )
    assert {k: len(v) for k, v in data.videos.items()} == {"train": 24, "val": 3, "test": 3}
    for batch in data.train_dataloader():
        for clip, video, start in zip(batch["clip"], batch["video"], batch["start"]):
            number = int(data.videos["train"][video].files[0])
            assert np.array_equal(clip[0], array[start : start + 10, number])


def test_other_arrays(make, tmp_path):
    rng = np.random.default_rng(0)
    coloured = rng.integers(0, 256, (3, 8, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", coloured)
    np.save(tmp_path / "floats.npy", coloured.astype(np.float32))
    (tmp_path / "film").mkdir()
    np.save(tmp_path / "film" / "one.npy", coloured[0])
    np.save(tmp_path / "labels.npy", np.arange(5))
    index = build_index(tmp_path)
    assert [e.files for e in index.entries] == [*((str(n), "nthwc") for n in range(3)), ("0", "thwc")]
    assert [path for path, _ in index.passed] == ["floats.npy", "labels.npy"]
    (tmp_path / "film" / "one.npy").unlink()
    data = ClipDataModule(tmp_path, num_frames=8, resolution=16, num_workers=0, batch_size=1, augment="none")
    batch = next(iter(data.train_dataloader()))
    number = int(data.videos["train"][int(batch["video"][0])].files[0])
    assert np.array_equal(batch["clip"][0].permute(1, 2, 3, 0), coloured[number])


def test_faceforensics(video, tmp_path):
    for split, name in (("train", "aa_0"), ("train", "aa_1"), ("val", "b_b_0"), ("test", "cc_0")):
        video(
            tmp_path / "FF" / split / "original" / f"{name}.avi",
            tmp_path / "FF" / split / "altered" / f"{name}_x_1.avi",
        )
    rows = rows_of(prepare("faceforensics", tmp_path)[0])
    assert len(rows) == 4 and not any("altered" in path for path in rows)
    row = rows["FF/val/original/b_b_0.avi"]
    assert (row["split"], row["group"]) == ("val", "b_b")


def test_faceforensics_plus_plus(video, tmp_path):
    top = tmp_path / "original_sequences" / "youtube"
    video(*(top / kind / "videos" / f"{n:03d}.mp4" for kind in ("c23", "c40") for n in range(5)))
    video(tmp_path / "manipulated_sequences" / "Deepfakes" / "c23" / "videos" / "000_003.mp4")
    out, found = prepare("faceforensics", tmp_path, tmp_path / "plain.csv")
    assert len(found.rows) == 5 and "c23 is used" in found.notes[0] and "no split" in found.notes[1]
    (tmp_path / "splits").mkdir()
    for split, pairs in (("train", [["000", "003"]]), ("val", [["001", "001"]]), ("test", [["002", "002"]])):
        (tmp_path / "splits" / f"{split}.json").write_text(json.dumps(pairs))
    out, found = prepare("faceforensics", tmp_path)
    got = {path.split("/")[-1]: row["split"] for path, row in rows_of(out).items()}
    assert got == {"000.mp4": "train", "003.mp4": "train", "001.mp4": "val", "002.mp4": "test"}
    assert found.notes[1].startswith("1 videos are in no split")


def test_taichi(video, make, tmp_path):
    video(*(tmp_path / "taichi" / "train" / f"{n}#00{k}#00{k + 1}.mp4" for n in ("_a-b", "cd") for k in (1, 2)))
    video(tmp_path / "taichi" / "train" / "thumbnail.mp4")
    make.frames(tmp_path / "taichi" / "test" / "ef#001#002", frames=3)
    rows = rows_of(prepare("taichi", tmp_path)[0])
    assert len(rows) == 5 and rows["taichi/train/_a-b#002#003.mp4"]["group"] == "_a-b"
    assert rows["taichi/test/ef#001#002"]["split"] == "test" and len(build_index(tmp_path).entries) == 5


def test_ab_photos_and_videos(make, video, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder, count in (("trainA", 4), ("trainB", 5), ("testA", 2), ("testB", 2)):
        (tmp_path / "p" / "horse2zebra" / folder).mkdir(parents=True)
        for n in range(count):
            picture = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "p" / "horse2zebra" / folder / f"n{n}_{folder}.jpg")
    out, found = prepare("ab", tmp_path / "p")
    rows = rows_of(out)
    assert len(rows) == 13 and "num_frames: 1" in found.notes[0]
    assert rows["horse2zebra/testB/n1_testB.jpg"] == {
        "path": "horse2zebra/testB/n1_testB.jpg",
        "split": "test",
        "domain": "B",
    }
    data = PairDataModule(tmp_path / "p", num_frames=1, resolution=16, num_workers=0, batch_size=2)
    batch = next(iter(data.train_dataloader()))
    assert batch["clip_a"].shape == batch["clip_b"].shape == (2, 3, 1, 16, 16)
    video(*(tmp_path / "v" / d / f"{n}.mp4" for d in "AB" for n in range(3)))
    rows = rows_of(prepare("ab", tmp_path / "v")[0])
    assert {r["domain"] for r in rows.values()} == {"A", "B"} and "split" not in rows["A/0.mp4"]
    (tmp_path / "half" / "trainA").mkdir(parents=True)
    with pytest.raises(UsageError, match="no trainB"):
        prepare("ab", tmp_path / "half")


def test_what_is_not_there_is_explained(video, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in RECIPES:
        with pytest.raises(UsageError, match=r"(no \S+|holds nothing)") as caught:
            prepare(name, tmp_path / "empty")
        assert str(tmp_path / "empty") in str(caught.value)
    with pytest.raises(UsageError, match="there are ucf101, sky_timelapse"):
        prepare("ucf", tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        prepare("kth", tmp_path / "nowhere")


def test_a_manifest_is_never_overwritten(video, tmp_path):
    video(tmp_path / "ido_run.avi")
    out, _ = prepare("weizmann", tmp_path)
    text = out.read_bytes()
    assert prepare("weizmann", tmp_path)[0] == out and out.read_bytes() == text
    video(tmp_path / "ido_walk.avi")
    with pytest.raises(UsageError, match="says something else"):
        prepare("weizmann", tmp_path)
    assert out.read_bytes() == text
    with pytest.raises(UsageError, match="must end in .csv"):
        prepare("weizmann", tmp_path, tmp_path / "x.txt")
