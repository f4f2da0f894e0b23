"""Names that nobody would choose, links that lead nowhere, and a hundred thousand files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import child_environment

from vidiff.cli import main
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import build_index
from vidiff.data.loader import ClipLoader

NAMES = ("a b.mp4", "new\nline.mp4", "tab\t.mp4", "Größe-中文-😀.mp4", "-dash.mp4", "--help.mp4", "x" * 251 + ".mp4")
NAMES += ("'quote\".mp4", "100%d.mp4", "$HOME;ls.mp4", "CON.mp4", "~.mp4", "*.mp4", "a\\b.mp4")
BYTES = b"not-\xff-utf8.mp4"


def test_any_name_is_found_read_and_said(make, tmp_path, capsys):
    good = make.video(tmp_path / "good.mp4", frames=10).read_bytes()
    root = tmp_path / "with space\nand line"
    root.mkdir()
    paths = [root / name for name in NAMES] + [Path(os.fsdecode(os.fsencode(root) + b"/" + BYTES))]
    for number, path in enumerate(paths):
        path.write_bytes(good + number.to_bytes(4, "big"))
    index = build_index(root)
    assert {root / e.path for e in index.entries} == set(paths) and not index.bad
    assert {e.num_frames for e in index.entries} == {10}
    for workers in (0, 1):
        loader = ClipLoader(ClipDataset(root, index.entries, 4, 16), 5, 15, num_workers=workers)
        assert sum(len(batch["clip"]) for batch in loader) == 15 and not loader.bad_files.files
        loader.close()
    assert main(["data", "check", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == len(paths)
    assert main(["data", "check", str(root)]) == 0


def test_links_that_lead_nowhere_or_around(make, tmp_path):
    make.strip(tmp_path / "a" / "one.png")
    make.strip(tmp_path / "b" / "two.png", offset=1)
    (tmp_path / "a" / "to b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to a").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self.mp4").symlink_to(tmp_path / "a" / "self.mp4")
    (tmp_path / "a" / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    index = build_index(tmp_path)
    assert {Path(e.path).name for e in index.entries} == {"one.png", "two.png"}
    named = dict((*index.bad, *index.passed))
    assert {Path(path).name for path in named} >= {"self.mp4", "gone.mp4"}
    assert all(reason and "\n" not in reason for reason in named.values())


MEASURE = """
import resource, sys
from vidiff import progress
from vidiff.data.index import build_index
progress.LINE_EVERY_S = 1.0  # ten are not reached on every machine
index = build_index(sys.argv[1])
print(len(index.entries), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in KiB")
def test_a_hundred_thousand_files(make, tmp_path):
    """Each a file of its own, with one of 500 contents: under 4 KiB of memory a file, and lines that tell how far."""
    contents = [make.strip(tmp_path / f"{n}.png", frames=4, side=16, offset=n).read_bytes() for n in range(20)]
    contents = [content + bytes([n]) for n in range(25) for content in contents]
    for number in range(100_000):
        folder = tmp_path / "root" / f"class{number // 1000}"
        if not number % 1000:
            folder.mkdir(parents=True)
        (folder / f"{number}.png").write_bytes(contents[number % 500])
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.png").write_bytes(contents[0])
    used = {}
    for name in ("few", "root"):
        command = [sys.executable, "-c", MEASURE, str(tmp_path / name)]
        env = child_environment() | {"VIDIFF_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        count, used[name] = map(int, done.stdout.split())
    assert count == 100_000 and (used["root"] - used["few"]) / count < 4
    lines = [line for line in done.stderr.splitlines() if line.startswith("vidiff: measuring videos: ")]
    assert lines and all("of 100000" in line and "left" in line for line in lines)
