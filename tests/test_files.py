"""Files are whole or absent, and what a killed process left is swept."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vidiff.errors import UsageError, unforeseen
from vidiff.files import (
    OURS,
    _sweep,
    check_suffix,
    check_writable,
    read_yaml,
    replacing,
    sweep,
    write_json,
    write_text,
)


def test_a_file_appears_when_it_is_whole(tmp_path):
    with replacing(tmp_path / "new" / "a.mp4") as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.suffix == ".mp4" and not (tmp_path / "new" / "a.mp4").exists()
    with pytest.raises(KeyError), replacing(tmp_path / "new" / "a.mp4") as temporary:
        temporary.write_bytes(b"ha")
        raise KeyError
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.mp4"]
    assert (tmp_path / "new" / "a.mp4").read_bytes() == b"whole"


def test_only_what_the_dead_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in (dead.pid, os.getpid()):
        (tmp_path / f"{OURS}{number}-x.part.mp4").write_bytes(b"half")
    (tmp_path / ".vidiff-elsewhere-1-x.part.mp4").write_bytes(b"of another machine")
    _sweep.cache_clear()
    with replacing(tmp_path / "a.mp4"):
        pass
    left = {".vidiff-elsewhere-1-x.part.mp4", "a.mp4", f"{OURS}{os.getpid()}-x.part.mp4"}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_places_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UsageError, match="a.mp4 is a file, not a folder"):
        check_writable(tmp_path / "a.mp4" / "deep" / "x.mp4")
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="no permission"):
        check_writable(tmp_path / "new" / "x.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_texts_and_json_are_whole_or_absent(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "naïve\r\n\udcff")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "naïve\r\n".encode() + b"\xff"
    write_json(tmp_path / "a.json", {"a": [1, None]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, None]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "deep"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").touch()
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_texts_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "one")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError) as caught:
        write_text(path, "two")
    assert unforeseen(caught.value, "x").startswith(f"while writing {path}: OSError")
    assert path.read_text() == "one" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_settings_files(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa4\r\n")
    assert read_yaml(path) == {"a": "\u00e4"}
    path.write_bytes(b"")
    assert read_yaml(path) == {}
    for content, why in (
        (b"\xff\xfea\x00", "UTF-16"),
        (b"# \xe4", "UTF-8"),
        (b"a: [", "not valid YAML"),
        (b"3", "mapping"),
    ):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=why):
            read_yaml(path)


def test_sweeping_takes_only_old_temporary_files(tmp_path):
    for name in (".vidiff-host-12-k3.part.csv", ".vidiff-host-12-k3.part.png", "keep.png", ".gitignore", "a.part"):
        (tmp_path / name).write_text("x")
    sweep(tmp_path, older_s=1000)
    assert len(list(tmp_path.iterdir())) == 5
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"keep.png", ".gitignore", "a.part"}
    sweep(tmp_path / "missing")


def test_another_suffix_names_the_accepted_ones():
    check_suffix("a.MP4", ".mp4")
    with pytest.raises(UsageError, match=r"a\.avi: cannot write '\.avi'; accepted: \.mp4, \.gif"):
        check_suffix("a.avi", ".mp4", ".gif")
