"""A configuration that fits what was found, and remarks: functions of an index, no file is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vidiff.data.advice import advise, counted, left_out_lines, summary, summary_lines
from vidiff.data.index import Entry, Index

ROOT = Path("set")


def index(*lengths: int, size: int = 40, fps: float | None = 10.0, **more) -> Index:
    """Films of these lengths, none like another."""
    entry = Entry("", "video", 0, fps, size, size, None, None, None, None, "", decoder="pyav")
    films = [replace(entry, path=f"{i}.mp4", num_frames=n, sha256=str(i), **more) for i, n in enumerate(lengths)]
    return Index(ROOT, "videos", tuple(films), ())


@pytest.mark.parametrize(
    "given, clip",
    [
        (index(*[20] * 10), (16, 32, 1)),
        (index(5, *[40] * 19), (16, 32, 1)),  # one short film does not decide
        (index(*[5] * 10, *[40] * 10), (4, 32, 1)),
        (index(*[40] * 10, fps=25.0), (16, 32, 2)),
        (index(*[17] * 10, fps=25.0), (16, 32, 1)),  # too short for every second frame
        (index(*[1] * 10, size=8), (1, 16, 1)),
        (index(*[90] * 10, size=500), (16, 64, 1)),
    ],
)
def test_the_clip_that_is_proposed_fits_nine_films_in_ten(given, clip):
    data = advise(given, ROOT).config["data"]["init_args"]
    assert (data["num_frames"], data["resolution"], data["frame_stride"]) == clip
    span = (clip[0] - 1) * clip[2] + 1
    assert sum(e.num_frames >= span for e in given.entries) >= 0.9 * len(given.entries)
    assert data["split"] == {"val": 0.1, "test": 0.1, "group_by": "video"}


def test_remarks():
    notes = " ".join(advise(index(20, 5), ROOT).notes)
    assert "fewer than 3 videos" in notes and "copies" not in notes
    copies = replace(index(20, 20, 20), entries=(index(20).entries[0],) * 3, bad=(("a", "empty"),))
    notes = " ".join(advise(copies, ROOT).notes)
    assert "2 videos are byte-identical" in notes and "1 of 4 files cannot be used" in notes
    assert "will be enlarged" in " ".join(advise(index(20, 20, 20, size=10), ROOT).notes)
    given = index(20, 20, 20, split="train")
    assert "split" not in advise(given, ROOT).config["data"]["init_args"] and not advise(given, ROOT).notes


def test_two_domains_are_a_pair():
    a, b = index(20, 20, domain="A"), index(20, 20, domain="B")
    advice = advise(replace(a, entries=a.entries + b.entries), ROOT)
    assert advice.config["data"]["class_path"] == "PairDataModule" and "PairDataModule" in advice.notes[-1]


def test_lines_for_a_person():
    lines = summary_lines(summary(index(20, 30, 40), ROOT))
    assert lines[0] == "set: videos" and "20 to 40, median 30" in lines[2] and "40x40 (3)" in lines[3]
    assert counted({"a": 3, "b": 2, "c": 1}, most=2) == "a (3), b (2), and 1 more"
    text = left_out_lines([(f"{i}", "empty") for i in range(60)], [(f"n{i}", "a text file") for i in range(5)])
    assert text[0].endswith("  ... and 10 more") and text[-1] == "  5: a text file (n0, n1, n2 and 2 more)"
