"""What `translate` takes from a folder, where it writes, and what it refuses before anything is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import film
from PIL import Image

from vidiff.errors import RunError, UsageError
from vidiff.inference.jobs import find_jobs


def run(source: Path, target: Path) -> tuple[dict[str, int], list[str], list[str]]:
    """({name of an output: frames}, what cannot be used, what was said), frames going through as they are."""
    said: list[str] = []
    jobs, unusable = find_jobs(source, target, said.append)
    return (
        {str(j.target.relative_to(target)): j.run(iter, said.append) for j in jobs},
        [u.error for u in unusable],
        said,
    )


def frames(folder: Path, count: int = 6) -> None:
    folder.mkdir()
    for i in range(count):
        Image.fromarray(np.full((24, 32, 3), 20 * i, np.uint8)).save(folder / f"{i:03d}.png")


def test_every_video_of_a_folder_is_known_by_its_content(tmp_path):
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    for name in ("a.mp4", "a.mkv", "b.ts", "deep/c.mov"):
        film(source / name)
    film(source / "d.avi", codec="mpeg4")
    (source / "d.avi").rename(source / "a video without a suffix")
    frames(source / "v1.2")
    (source / "notes.txt").write_text("no video")
    (source / "cut.mp4").write_bytes((source / "a.mp4").read_bytes()[:300])
    done, failed, said = run(source, tmp_path / "out")
    assert done == {
        "a.mp4.mp4": 10,
        "a.mkv.mp4": 10,
        "b.mp4": 10,
        "deep/c.mp4": 10,
        "a video without a suffix.mp4": 10,
        "v1.2.mp4": 6,
    }
    assert len(failed) == 1 and "cut.mp4" in failed[0]
    assert any("passed over" in line and "notes.txt" in line for line in said) and any(
        "8 frames a second" in line for line in said
    )


def test_outputs_are_no_inputs(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    film(source / "a.mp4")
    first, _, _ = run(source, source / "night")
    again, _, said = run(source, source / "night")
    assert first == again == {"a.mp4": 10} and "output folder" in said[0]
    other, _, said = run(
        source, source / "sketch"
    )  # what an earlier run left beside the originals is known by its mark
    assert other == {"a.mp4": 10} and "a translation of this suite" in said[0]
    back, _, _ = run(source / "night", tmp_path / "back")  # a folder of nothing else is meant
    assert back == {"a.mp4": 10}
    above, _, _ = run(source / "night", source)
    assert above == {"a.mp4": 10}
    with pytest.raises(UsageError, match="is the input folder"):
        find_jobs(source, source / "night" / "..", print)


def test_an_output_that_is_an_input_is_refused_under_every_name(tmp_path):
    source = film(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "hard.mp4").hardlink_to(source)
    for name in ("a.mp4", "link.mp4", "hard.mp4", "../" + tmp_path.name + "/a.mp4"):
        with pytest.raises(UsageError, match="replace the input"):
            find_jobs(source, tmp_path / name, print)
    with pytest.raises(UsageError, match="a.mp4 is a file, not a folder"):
        find_jobs(source, tmp_path / "a.mp4" / "x.mp4", print)
    with pytest.raises(UsageError, match="has to be a folder"):
        (tmp_path / "in").mkdir()
        film(tmp_path / "in" / "b.mp4")
        find_jobs(tmp_path / "in", source, print)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "hard.mp4", "in", "link.mp4"]


def test_names_with_colons(tmp_path, monkeypatch):
    film(tmp_path / "a.mp4").rename(tmp_path / "12:30:05.mp4")
    monkeypatch.chdir(tmp_path)
    jobs, _ = find_jobs(Path("12:30:05.mp4"), Path("12:31:05.mp4"), print)
    assert jobs[0].num_frames == 10 and jobs[0].run(iter, print) == 10
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["12:30:05.mp4", "12:31:05.mp4"]


def test_one_picture_is_no_video(tmp_path):
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    said = []
    with pytest.raises(UsageError, match=r"a\.png: a single picture, no video$"):
        find_jobs(tmp_path / "a.png", tmp_path / "out.mp4", said.append)
    assert not said  # one line is enough
    with pytest.raises(UsageError, match="holds no video"):
        find_jobs(tmp_path, tmp_path / "out", said.append)


def test_what_is_no_film_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(2000))
    jobs, _ = find_jobs(tmp_path / "a.mkv", tmp_path / "out.mp4", print)
    with pytest.raises(RunError, match="a.mkv"):
        jobs[0].run(iter, print)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]
