"""Copies are found where they are, at their speed and side, and strangers are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.inference.match import align, build_match_index, find_matches, read_match_index
from vidiff.video.write import write_mp4

FPS, FRAMES = 8, 40


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """An index of four scenes, and the frames of the first."""
    root = tmp_path_factory.mktemp("known")
    (root / "videos").mkdir()
    scenes = [render_scene(0, n, frames=FRAMES, resolution=64) for n in range(4)]
    for n, scene in enumerate(scenes):
        write_mp4(root / "videos" / f"{n}.mp4", scene, FPS, crf=14)
    build_match_index(root / "videos", root / "index.safetensors")
    return root / "index.safetensors", scenes


CHANGES = {
    "encoded": lambda x: (x, FPS),
    "cropped": lambda x: (x[:, 6:58, 6:58], FPS),
    "mirrored": lambda x: (x[:, :, ::-1], FPS),
    "faster": lambda x: (x, 1.25 * FPS),
    "part": lambda x: (x[10:30], FPS),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_where_it_is(known, tmp_path, change):
    index, scenes = known
    clip, fps = CHANGES[change](scenes[0])
    write_mp4(tmp_path / "copy.mp4", np.ascontiguousarray(clip), fps, crf=28)
    found = find_matches([tmp_path / "copy.mp4"], index)
    assert [m.source for m in found] == ["0.mp4"]
    match = found[0]
    assert match.mirrored is (change == "mirrored") and 0.75 <= match.score <= 1
    assert match.speed == (1.25 if change == "faster" else 1.0)
    begin, length = (10 / FPS, 20 / FPS) if change == "part" else (0, FRAMES / FPS)
    assert match.source_start == pytest.approx(begin, abs=0.45)
    assert match.source_end - match.source_start == pytest.approx(length, abs=0.8)
    assert match.end - match.start == pytest.approx(length / match.speed, abs=0.8)


def test_a_stranger_is_not_found(known, tmp_path):
    write_mp4(tmp_path / "a.mp4", render_scene(77, 1, frames=FRAMES, resolution=64), FPS)
    assert find_matches([tmp_path / "a.mp4"], known[0]) == []


def test_lines_are_followed_in_order():
    times = np.arange(20, dtype=np.float32) / 5
    same = np.where(np.eye(20, dtype=bool), 0.9, 0.0)
    assert align(same, times, times, 0.5)[:5] == pytest.approx((0, 3.8, 0, 3.8, 1.0), abs=0.01)
    assert align(same[::-1], times, times, 0.5) is None  # each frame agrees with one, in the wrong order
    assert align(np.zeros((20, 20)), times, times, 0.5) is None
    shifted = np.zeros((10, 20))
    shifted[np.arange(10), np.arange(10) + 7] = 0.9
    start, end, first, last, speed, score = align(shifted, times[:10], times, 0.5)
    assert (start, end, first, last, speed, score) == pytest.approx((0, 1.8, 1.4, 3.2, 1.0, 0.9), abs=0.01)


def test_the_index_is_read_as_it_was_written_and_nothing_else_is(known, tmp_path):
    found = read_match_index(known[0])
    assert list(found) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert all(len(f.times) == len(f.bits) > 20 for f in found.values())
    (tmp_path / "a.safetensors").write_bytes(known[0].read_bytes()[:-100])
    with pytest.raises(RunError, match="damaged or no index"):
        read_match_index(tmp_path / "a.safetensors")
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, tmp_path / "b.safetensors")
    with pytest.raises(UsageError, match="no index of `vidiff match index`"):
        read_match_index(tmp_path / "b.safetensors")


def test_the_command(known, tmp_path, capsys):
    index, scenes = known
    write_mp4(tmp_path / "copy.mp4", np.ascontiguousarray(scenes[2][:, :, ::-1]), FPS, crf=28)
    write_mp4(tmp_path / "black.mp4", np.zeros((16, 32, 32, 3), np.uint8), FPS)
    videos = [str(tmp_path / "copy.mp4"), str(tmp_path / "black.mp4")]
    assert main(["match", "find", *videos, "--index", str(index)]) == 0
    said = capsys.readouterr()
    assert "copy.mp4 0.00-" in said.out and "is 2.mp4" in said.out and "mirrored" in said.out
    assert "black.mp4: every frame is of one color" in said.err
    assert main(["match", "find", *videos, "--index", str(index), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["source"] == "2.mp4"


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["find", "gone.mp4", "--index", "INDEX"], 2, "gone.mp4: no such file"),
        (["find", "in", "--index", "INDEX"], 2, "a folder, not a video"),
        (["find", "notes.txt", "--index", "INDEX"], 2, "notes.txt: not a video"),
        (["find", "sound.mp4", "--index", "INDEX"], 1, "sound.mp4: it holds no video stream"),
        (["find", "in/0.mp4", "--index", "gone.safetensors"], 2, "gone.safetensors: no such file"),
        (["find", "in/0.mp4", "--index", "in/0.mp4"], 1, "damaged or no index"),
        (["find", "in/0.mp4", "--index", "INDEX", "--threshold", "2"], 2, "threshold must be between 0 and 1"),
        (["index", "in", "--output", "a.npz"], 2, "accepted: .safetensors"),
        (["index", "gone", "--output", "a.safetensors"], 2, "gone"),
        (["index", "notes", "--output", "a.safetensors"], 2, "notes"),
    ],
)
def test_bad_requests(known, tmp_path, monkeypatch, capsys, words, code, said):
    import av

    monkeypatch.chdir(tmp_path)
    for folder in ("in", "notes"):
        (tmp_path / folder).mkdir()
    write_mp4(tmp_path / "in" / "0.mp4", known[1][0][:4], FPS)
    for path in (tmp_path / "notes.txt", tmp_path / "notes" / "a.txt"):
        path.write_text("words")
    with av.open(str(tmp_path / "sound.mp4"), "w") as writer:
        track = writer.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        writer.mux(track.encode(frame))
        writer.mux(track.encode(None))
    before = sorted(tmp_path.rglob("*"))
    assert main(["match", *(str(known[0]) if w == "INDEX" else w for w in words)]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before
