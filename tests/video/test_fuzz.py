"""Damaged files of every container: each either decodes, or is refused with the suite's own error; nothing hangs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from vidiff.data.index import build_index
from vidiff.video.open import open_reader, read_square
from vidiff.video.reader import ReadError

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

KINDS = ("a.mp4", "a.avi", "a.gif", "a.mkv", "strip.png")
# The same examples every time, none kept on a disk; how long one takes says nothing on a busy machine.
SETTINGS = dict(derandomize=True, database=None, deadline=None)
PLACE = st.floats(0, 1, exclude_max=True)
CHANGES = st.one_of(
    st.tuples(st.just("cut"), PLACE),
    st.tuples(st.just("flip"), st.lists(st.tuples(PLACE, st.integers(0, 7)), min_size=1, max_size=40)),
    st.tuples(st.just("fill"), st.tuples(PLACE, st.integers(1, 400), st.integers(0, 255))),
    st.tuples(st.just("drop"), st.tuples(PLACE, st.integers(1, 200))),
    st.tuples(st.just("head"), st.binary(min_size=1, max_size=48)),
)


def changed(data: bytes, change: tuple) -> bytes:
    """A file's content after one change; places are shares of its length."""
    kind, what = change
    out = bytearray(data)
    if kind == "cut":
        del out[int(what * len(out)) :]
    elif kind == "flip":
        for place, bit in what:
            out[int(place * len(out))] ^= 1 << bit
    elif kind == "head":
        out[: len(what)] = what
    else:
        first, count = int(what[0] * len(out)), what[1]
        count = min(count, len(out) - first)
        out[first : first + count] = bytes([what[2]]) * count if kind == "fill" else b""
    return bytes(out)


@pytest.fixture(scope="module")
def good(make, tmp_path_factory) -> dict[str, bytes]:
    """One small file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    codecs = {".avi": "mpeg4", ".gif": "gif"}
    for name in KINDS[:-1]:
        make.video(folder / name, 10, codecs.get(Path(name).suffix, "libx264"), size=(32, 32), gop=4)
    make.strip(folder / KINDS[-1], frames=6)
    return {name: (folder / name).read_bytes() for name in KINDS}


def use(path: Path) -> str:
    """What a training does with a file: found, measured, its first, middle and last frame read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = build_index(path.parent)
    if not index.entries:
        assert index.bad or index.passed
        assert all(reason and "\n" not in reason for _, reason in (*index.bad, *index.passed))
        return "refused"
    (entry,) = index.entries
    reader = open_reader(index.root / entry.path, entry.kind, entry.decoder, entry.files, entry.white)
    wanted = [0, entry.num_frames // 2, entry.num_frames - 1]
    try:
        assert read_square(reader, wanted, 16).shape == (3, 16, 16, 3)
    except ReadError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return "damaged"
    return "read"


def fuzz(good: dict[str, bytes], folder: Path, examples: int) -> dict[str, int]:
    """How many damaged files were read, damaged and refused."""
    seen: dict[str, int] = {}

    @hypothesis.settings(max_examples=examples, **SETTINGS)
    @hypothesis.given(st.sampled_from(KINDS), st.lists(CHANGES, min_size=1, max_size=3))
    def one(name: str, changes: list[tuple]) -> None:
        data = good[name]
        for change in changes:
            data = changed(data, change) or b"\0"
        place = folder / f"{sum(seen.values())}"
        place.mkdir()
        (place / name).write_bytes(data)
        what = use(place / name)
        seen[what] = seen.get(what, 0) + 1

    one()
    return seen


def test_damaged_files_are_read_or_refused(good, tmp_path):
    for name, data in good.items():  # undamaged, every kind is read
        (tmp_path / f"whole-{name}").mkdir()
        (tmp_path / f"whole-{name}" / name).write_bytes(data)
        assert use(tmp_path / f"whole-{name}" / name) == "read"
    seen = fuzz(good, tmp_path, 30)
    assert sum(seen.values()) >= 30 and seen["read"] and seen["refused"]


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(good, tmp_path):
    seen = fuzz(good, tmp_path, 1500)
    print(seen)
    assert sum(seen.values()) >= 1500 and min(seen["read"], seen["refused"]) >= 20 and seen["damaged"]
