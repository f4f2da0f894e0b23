"""Copies are found where they are, at their speed and side, and strangers are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from films import at_times
from PIL import Image

from vidiff.cli import main
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.inference.match import THRESHOLD, align, build_match_index, compare, find_matches, read_match_index
from vidiff.video.fingerprint import QUERY_RATE, fingerprint
from vidiff.video.open import open_reader
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


KEPT = np.sort(np.random.default_rng(1).choice(np.arange(1, FRAMES), 24, replace=False)).tolist()
UNEVEN = {  # frames that are there, and how much slower they are shown
    "whole": (list(range(FRAMES)), 1),
    "dropped": ([0, *KEPT], 1),
    "gap": ([*range(10), *range(20, FRAMES)], 1),
    "slow": (list(range(FRAMES)), 2),
    "slow and dropped": ([0, *KEPT], 2),
    "faster": (list(range(FRAMES)), 1 / 1.17),
}


@pytest.mark.parametrize(
    "query, source, speed",
    [
        ("dropped", "whole", 1.0),
        ("whole", "gap", 1.0),
        ("slow and dropped", "whole", 0.5),
        ("whole", "slow and dropped", 2.0),
        ("slow", "slow and dropped", 1.0),
        ("slow", "gap", 0.5),
        ("faster", "whole", 1.17),
    ],
)
def test_speed_and_place_are_by_the_times_of_frames_however_uneven(known, query, source, speed, tmp_path):
    for name in (query, source):
        kept, slower = UNEVEN[name]
        at_times(tmp_path / f"{name}.mp4", known[1][0][kept], slower * np.array(kept) / FPS)
    index = {"a": fingerprint(open_reader(tmp_path / f"{source}.mp4"))}
    (match,) = compare("b", fingerprint(open_reader(tmp_path / f"{query}.mp4"), QUERY_RATE, True), index, THRESHOLD)
    assert match.speed == pytest.approx(speed, rel=0.03)
    whole = FRAMES * UNEVEN[query][1] / FPS
    assert match.start < 0.25 * whole / 5 and match.end > 0.9 * whole


def panning(frames: int) -> np.ndarray:
    """A picture that a camera sweeps over, far in a tenth of a second; uint8 (T, 64, 96, 3) of 25 a second."""
    picture = np.asarray(Image.fromarray(render_scene(0, 9, frames=1, resolution=64)[0]).resize((400, 64)))
    noise = np.random.default_rng(0).integers(0, 256, (8, 50, 3)).astype(np.uint8)
    picture = picture // 2 + np.asarray(Image.fromarray(noise).resize((400, 64), Image.Resampling.BICUBIC)) // 2
    places = [round(150 + 80 * np.sin(i / 12) + 60 * np.sin(i / 7.7 + 1)) for i in range(frames)]
    return np.stack([picture[:, x : x + 96] for x in places])


@pytest.mark.parametrize("first", [2, 3, 28])
def test_a_piece_is_found_in_its_whole_length_where_much_moves(first, tmp_path):
    clip = panning(110)
    write_mp4(tmp_path / "a.mp4", clip, 25, crf=18)
    write_mp4(tmp_path / "piece.mp4", clip[first : first + 60], 25, crf=23)
    index = {"a": fingerprint(open_reader(tmp_path / "a.mp4"))}
    (match,) = compare("b", fingerprint(open_reader(tmp_path / "piece.mp4"), QUERY_RATE, True), index, THRESHOLD)
    assert match.end - match.start > 0.85 * 60 / 25 and match.speed == 1
    assert match.source_start - match.start == pytest.approx(first / 25, abs=0.1)


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
    assert "copy.mp4 0.0" in said.out and "is 2.mp4" in said.out and "mirrored" in said.out
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
