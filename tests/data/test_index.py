"""Layouts recognised from folders, manifests and contents; the cache; the fingerprint."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from PIL import Image

from vidiff.data import index as index_module
from vidiff.data.index import build_index
from vidiff.errors import UsageError
from vidiff.paths import cache_dir


def places(index):
    return {e.path: (e.kind, e.label, e.split, e.domain) for e in index.entries}


def test_flat_and_class_folders(make, tmp_path):
    flat, classes = tmp_path / "flat", tmp_path / "classes"
    for name in ("b10.mp4", "b9.mkv"):
        make.video(flat / name, frames=9)
    (flat / "PROVENANCE.md").write_text("# from here")
    (flat / ".hidden.mp4").write_bytes(b"")
    (flat / "labels.json").write_text("{}")
    index = build_index(flat)
    assert [e.path for e in index.entries] == ["b9.mkv", "b10.mp4"]
    assert index.layout == "videos" and not index.classes and not index.bad
    assert dict(index.passed) == {"PROVENANCE.md": "a text file", "labels.json": "a text file"}
    assert all((e.num_frames, e.width, e.height, e.fps) == (9, 64, 48, 10) for e in index.entries)
    for name in ("run/a.mp4", "run/deeper/b.mp4", "jump/a.mp4"):
        make.video(classes / name, frames=9)
    index = build_index(classes)
    assert index.layout == "class folders, videos" and index.class_counts == {"jump": 1, "run": 2}
    assert places(index)["run/deeper/b.mp4"] == ("video", "run", None, "run")


def test_strips_and_frames(make, strips, tmp_path):
    index = build_index(strips)
    assert index.layout == "class folders, strips" and len(index.entries) == 12
    assert index.class_counts == {"class0": 4, "class1": 4, "class2": 4}
    for name in ("x/one", "x/two", "y/three"):
        make.frames(tmp_path / name)
    index = build_index(tmp_path)
    assert index.layout == "class folders, folders of frames"
    assert places(index)["x/two"] == ("frames", "x", None, "x")
    assert index.entries[0].files[:3] == ("frame0.png", "frame1.png", "frame2.png")
    alone = build_index(tmp_path / "x" / "one")
    assert [(e.path, e.num_frames) for e in alone.entries] == [(".", 12)]
    flat = build_index(tmp_path / "x")
    assert flat.layout == "folders of frames" and not flat.classes


@pytest.mark.parametrize("frames", [False, True])
def test_split_and_domain_folders(make, tmp_path, frames):
    def put(name):
        (make.frames if frames else make.strip)(tmp_path / (name if frames else f"{name}.png"))

    for name in ("one/train/u/1", "one/train/v/2", "one/validation/u/3", "one/test/v/4"):
        put(name)
    index = build_index(tmp_path / "one")
    assert [(e.split, e.label) for e in index.entries] == [
        ("test", "v"), ("train", "u"), ("train", "v"), ("val", "u")
    ]  # fmt: skip
    for name in ("two/trainA/1", "two/trainB/2", "two/testA/3", "two/testB/4"):
        put(name)
    index = build_index(tmp_path / "two")
    assert [(e.split, e.domain) for e in index.entries] == [
        ("test", "A"), ("test", "B"), ("train", "A"), ("train", "B")
    ]  # fmt: skip
    assert index.classes == ["A", "B"]
    for name in ("three/A/1", "three/A/2", "three/B/3"):
        put(name)
    assert [(e.split, e.domain) for e in build_index(tmp_path / "three").entries] == [(None, "A")] * 2 + [(None, "B")]
    for name in ("four/train/A/1", "four/train/B/2", "four/test/A/3", "four/test/B/3"):
        put(name)
    assert {(e.split, e.domain) for e in build_index(tmp_path / "four").entries} == {
        (s, d) for s in ("train", "test") for d in "AB"
    }
    for name in ("five/training/1", "five/train/2"):
        put(name)
    assert all(e.split == "train" for e in build_index(tmp_path / "five").entries)


def test_folders_of_frames_directly_under_split_names(make, tmp_path):
    for name in ("train", "val"):
        make.frames(tmp_path / name)
    assert places(build_index(tmp_path)) == {
        "train": ("frames", None, "train", None),
        "val": ("frames", None, "val", None),
    }


def test_manifest(make, tmp_path):
    make.video(tmp_path / "v" / "a.mp4", frames=9)
    make.strip(tmp_path / "v" / "b.png")
    make.frames(tmp_path / "v" / "c")
    (tmp_path / "v" / "d.mp4").write_bytes(b"")
    text = "path,label,split,group\nv/a.mp4,run,train,p1\nv/b.png,run,val,p2\nv/c,walk,test,p3\nv/d.mp4,walk,train,p4\n"
    (tmp_path / "manifest.csv").write_text(text)
    index = build_index(tmp_path)
    assert [(e.path, e.kind, e.label, e.split, e.group) for e in index.entries] == [
        ("v/a.mp4", "video", "run", "train", "p1"),
        ("v/b.png", "strip", "run", "val", "p2"),
        ("v/c", "frames", "walk", "test", "p3"),
    ]
    assert index.bad == (("v/d.mp4", "empty file"),)
    (tmp_path / "other.csv").write_text("path\nv/a.mp4\n")
    assert len(build_index(tmp_path / "other.csv").entries) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "line 1: columns"),
        ("path,colour\na,b\n", "line 1: columns"),
        ("", "line 1: columns"),
        ("path\nv.png\nmissing.mp4\n", "line 3: .*missing.mp4 does not exist"),
        ("path,split\nv.png,late\n", "line 2: split is 'late'"),
        ("path,label\nv.png\n", "line 2: has fewer"),
        ("path\nv.png,1\n", "line 2: has more"),
        ("path\nv.png\nv.png\n", "line 3: .*line 2"),
        ("path,label\nv.png,\n", "line 2: label is empty"),
    ],
)
def test_manifest_errors_name_the_line(make, tmp_path, text, message):
    make.strip(tmp_path / "v.png")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        build_index(tmp_path)


def test_bad_files_are_listed_and_the_rest_is_used(make, tmp_path):
    make.broken(tmp_path)
    (tmp_path / "empty.png").touch()
    make.video(tmp_path / "good.mp4")
    index = build_index(tmp_path)
    assert [e.path for e in index.entries] == ["good.mp4"]
    reasons = dict(index.bad)
    assert set(reasons) == {
        "empty.png", "empty.mp4", "text.mp4", "noise.mp4", "cut.mp4", "no_frames.mp4", "audio.mp4"
    }  # fmt: skip
    assert reasons["empty.mp4"] == "empty file" and reasons["text.mp4"] == "a text file"


def test_pictures_that_are_no_video(make, tmp_path):
    for name, size in (("a.png", (40, 30)), ("b.png", (50, 30))):
        Image.new("RGB", size).save(tmp_path / name)
    index = build_index(tmp_path)  # nothing else here: stills
    assert [e.kind for e in index.entries] == ["image", "image"] and index.layout == "still images"
    make.strip(tmp_path / "strips" / "s.png")
    index = build_index(tmp_path)
    assert [e.kind for e in index.entries] == ["strip"] and not index.bad
    assert {path: reason[:14] for path, reason in index.passed} == {
        "a.png": "a lone picture",
        "b.png": "a lone picture",
    }
    make.frames(tmp_path / "photos" / "x", frames=3)
    stills = build_index(tmp_path / "photos", stills=True)
    assert [(e.kind, e.num_frames) for e in stills.entries] == [("image", 1)] * 3


def test_thumbnails_beside_videos_are_passed_over(make, tmp_path):
    make.video(tmp_path / "a.mp4")
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    index = build_index(tmp_path)
    assert [e.path for e in index.entries] == ["a.mp4"] and not index.bad
    assert index.passed == (("a.jpg", "a picture beside videos"), ("b.jpg", "a picture beside videos"))


def test_missing_root_and_link_loops(make, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        build_index(tmp_path / "no")
    make.strip(tmp_path / "root" / "a.png")
    (tmp_path / "root" / "again").symlink_to(tmp_path / "root")
    assert len(build_index(tmp_path / "root").entries) == 1


def test_fingerprint_is_content_paths_and_labels(make, strips, tmp_path):
    shutil.copytree(strips, tmp_path / "copy")
    assert build_index(strips).fingerprint == build_index(tmp_path / "copy").fingerprint
    (tmp_path / "copy" / "class0").rename(tmp_path / "copy" / "class9")
    assert build_index(strips).fingerprint != build_index(tmp_path / "copy").fingerprint
    shutil.copytree(strips, tmp_path / "changed")
    make.strip(tmp_path / "changed" / "class0" / "000.png", offset=1)
    assert build_index(strips).fingerprint != build_index(tmp_path / "changed").fingerprint


def test_cache_follows_content_and_survives_damage(make, strips, tmp_path, monkeypatch):
    calls = []
    measure = index_module._measure
    monkeypatch.setattr(index_module, "_measure", lambda *a: calls.append(a[1].path) or measure(*a))
    first = build_index(strips)
    assert len(calls) == 12
    assert build_index(strips) == first and len(calls) == 12
    shutil.copytree(strips, tmp_path / "moved")  # other paths, same contents
    assert build_index(tmp_path / "moved").fingerprint == first.fingerprint and len(calls) == 12
    # Same size and name, other content: found through the time of change.
    path = tmp_path / "moved" / "class0" / "000.png"
    make.strip(path, frames=7)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    changed = build_index(tmp_path / "moved")
    assert len(calls) == 13 and changed.entries[0].num_frames == 7
    files = list((cache_dir() / "index").iterdir())
    assert files and all(json.loads(f.read_text()) for f in files)  # no temporary files left
    for number, file in enumerate(files):
        file.write_text(["{broken", "[]", '{"a": 1}'][number % 3])
    assert build_index(strips) == first and len(calls) == 25


def test_unwritable_cache_is_no_error(strips, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIDIFF_CACHE_DIR", str(tmp_path / "file"))
    assert len(build_index(strips).entries) == 12
