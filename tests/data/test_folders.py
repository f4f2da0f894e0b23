"""Split folders by their many names and at every level; what lies beside them; no test file is trained on."""

from __future__ import annotations

import pytest

from vidiff.data.folders import read_folders, split_of
from vidiff.data.index import build_index
from vidiff.data.splits import make_splits


def read(*folders):
    """Folder of each video -> (split, domain, label); None for a stray."""
    meaning = read_folders([folder.split("/") if folder else [] for folder in folders], [False] * len(folders))
    triples = zip(meaning.splits, meaning.domains, meaning.labels)
    return [None if i in meaning.strays else triple for i, triple in enumerate(triples)]


def test_names_of_splits():
    names = {
        "train": "train Training TRAIN train_set trainset train2017 training-videos train_256 trainval".split(),
        "val": "val valid validation dev Val_Set development eval valset".split(),
        "test": "test testing Test-Set tests test_data holdout test_all_frames".split(),
    }
    for split, words in names.items():
        assert {word: split_of(word) for word in words} == dict.fromkeys(words, split)
    for name in ("run", "weight_training", "trains", "contest", "trainA", "train_test", "10"):
        assert split_of(name) is None


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "dev", "test"), ("training", "validation", "testing"), ("Train", "Valid", "Test"), ("trn", "val", "tst"),
     ("sky_train", "sky_val", "sky_test"), ("train2017", "val2017", "test2017"), ("train", "dev", "test_hard")],
)  # fmt: skip
def test_split_folders_at_the_top_below_classes_and_in_a_wrapper(train, val, test):
    expected = [("train", None, "run"), ("train", None, "jump"), ("val", None, "run"), ("test", None, "run")]
    assert read(f"{train}/run", f"{train}/jump", f"{val}/run", f"{test}/run") == expected or train.startswith("sky")
    assert [t[0] for t in read(f"x/{train}", f"y/{train}", f"x/{val}", f"x/{test}")] == [
        "train",
        "train",
        "val",
        "test",
    ]
    assert [t[0] for t in read(f"v/{train}/a", f"v/{val}/a", f"v/{test}/a", f"v/{test}/b")] == ["train", "val"] + [
        "test"
    ] * 2


def test_domains_with_splits_at_every_level():
    for folders in (
        ("trainA", "trainB", "testA", "testB"),
        ("train_a", "train_b", "test_a", "test_b"),
        ("A_train", "B_train", "A_test", "B_test"),
        ("A/train", "B/train", "A/test", "B/test"),
        ("A/trainA", "B/trainB", "A/testA", "B/testB"),
        ("training/A", "training/B", "testing/A", "testing/B"),
        ("data/trainA", "data/trainB", "data/testA", "data/testB"),
        ("A/Training/x", "B/Training/x", "A/dev_x/x", "B/holdout/x")[:2] + ("A/test/x", "B/test/x"),
    ):
        assert [t[:2] for t in read(*folders)] == [("train", "A"), ("train", "B"), ("test", "A"), ("test", "B")], (
            folders
        )
    assert [t[2] for t in read("train_monet", "train_photo", "test_monet", "test_photo")] == ["monet", "photo"] * 2


@pytest.mark.parametrize("stray", ["results", "demo", "", "web/images", "checkpoints/a/b"])
def test_strays_cost_nothing_and_are_never_classes(stray):
    for folders in (
        ("train", "test"),
        ("trainA", "trainB", "testA", "testB"),
        ("A/train", "B/train", "A/test", "B/test"),
    ):
        assert read(*folders, stray) == [*read(*folders), None]
    if stray:
        assert read("A", "B", stray) == [(None, "A", None), (None, "B", None), None]


def test_what_is_no_split_stays_a_class():
    for folders in (("car", "train", "bus"), ("training", "running"), ("train_station", "test_drive", "beach"),
                    ("A", "B", "C"), ("x", "y/test")):  # fmt: skip
        assert all(t is not None and t[0] is None for t in read(*folders)), folders


def test_no_test_file_is_trained_on(tmp_path, make):
    layouts = {
        "dev": ["train/a", "train/b", "dev/c", "test/d"],
        "below": ["A/train/a", "A/test/d", "B/train/b", "B/test/d2"],
        "classes": ["run/train/a", "run/test/d", "jump/train/b", "jump/test/d2"],
        "stray": ["trainA/a", "trainB/b", "testA/d", "testB/d2", "results/fake"],
    }
    for name, files in layouts.items():
        for n, file in enumerate(files):
            make.strip(tmp_path / name / f"{file}.png", offset=n)
        index = build_index(tmp_path / name)
        parts = make_splits(index)
        assert not any("test" in index.entries[i].path or "results" in index.entries[i].path for i in parts["train"])
        assert [index.entries[i].path for i in parts["test"]] == sorted(f"{f}.png" for f in files if "test" in f)
    assert index.passed == (("results/fake.png", "lies beside the folders for train, val and test"),)


def test_digits_that_are_no_numbers(tmp_path, make):
    for name in ("10²", "①", "a³b", "٣"):
        make.strip(tmp_path / name / "1.png")
    assert len(build_index(tmp_path).classes) == 4


def test_pointers_links_and_sounds_are_called_by_their_names(tmp_path, make):
    make.strip(tmp_path / "good.png")
    (tmp_path / "a.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    (tmp_path / "b.mp4").symlink_to(".git/annex/objects/x")
    (tmp_path / "c.png").symlink_to("nowhere.png")
    (tmp_path / "d.mp4.dvc").write_text("outs:\n- path: d.mp4\n")
    (tmp_path / "notes.ts").write_text("const a = 1")
    (tmp_path / "more.zip").write_bytes(b"PK\3\4" + bytes(40))
    make.audio(tmp_path / "x.mp4").rename(tmp_path / "song.m4a")
    index = build_index(tmp_path)
    bad, passed = dict(index.bad), dict(index.passed)
    assert "Git LFS pointer" in bad["a.mp4"] and "git annex get" in bad["b.mp4"] and "nowhere.png" in bad["c.png"]
    assert len(bad) == 3 and len(index.entries) == 1
    assert passed == {
        "d.mp4.dvc": "a DVC pointer: fetch the file itself with `dvc pull`", "notes.ts": "a text file",
        "more.zip": "an archive: unpack it", "song.m4a": "a sound file",
    }  # fmt: skip
