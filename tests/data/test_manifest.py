"""Manifests as spreadsheets save them: read, or one line with the true reason."""

from __future__ import annotations

import pytest

from vidiff.data.index import build_index
from vidiff.errors import UsageError

ROWS = "path,label\nclips/grün.png,x\nclips/b.png,ÿ\n"


@pytest.fixture
def root(make, tmp_path):
    for n, name in enumerate(("grün", "b", "a, c")):
        make.strip(tmp_path / "clips" / f"{name}.png", offset=n)
    return tmp_path


@pytest.mark.parametrize(
    "data",
    [
        ROWS.encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.encode("cp1252"),
        ROWS.encode("utf-16"),
        ROWS.encode("utf-16-le"),
        b"\xfe\xff" + ROWS.encode("utf-16-be"),
        ROWS.split("\n", 2)[0].encode() + b"\nclips/gr\xfcn.png,x\n" + "clips/b.png,ÿ\n".encode(),
        ROWS.replace("\n", "\r\n").encode(),
        ROWS.replace("\n", "\r").encode(),
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode(),
        ("sep=;\n" + ROWS.replace(",", ";")).encode(),
        ROWS.replace("/", "\\").encode(),
        ROWS.replace("\n", "\n   \n,\n\n").encode(),
        ROWS.replace("\n", ",,\n").encode(),
        ROWS.replace("path,label", " Path , LABEL ").encode(),
        ROWS.replace("ü", "u\u0308").encode(),
    ],
    ids=["utf-8", "bom", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "one umlaut", "crlf", "cr", "semicolon", "tab",
         "sep", "backslash", "blank", "empty columns", "capitals", "decomposed"],
)  # fmt: skip
def test_manifests_of_spreadsheets_are_read(root, data):
    (root / "list.csv").write_bytes(data)
    index = build_index(root / "list.csv")
    assert [(e.path, e.label) for e in index.entries] == [("clips/grün.png", "x"), ("clips/b.png", "ÿ")]


def test_splits_by_their_many_names(root):
    (root / "list.csv").write_text('path,split\nclips/b.png,Training\n"clips/a, c.png",dev\nclips/grün.png,testing\n')
    assert [e.split for e in build_index(root / "list.csv").entries] == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04" + bytes(60), "workbook.*save the table as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "Excel workbook"),
        (b"path\nclips/\x81.png\n", "line 2: neither UTF-8"),
        (b"path\n\0\0\0\0", "not a text file"),
        (b"path\nC:\\data\\b.png\n", r"line 2: C:\\data\\b.png is a path of another"),
        (b"path\nclips\\none.png\n", "line 2: .*clips/none.png does not exist"),
        (b"clips/b.png,x\n", r"line 1: columns are \['clips/b.png', 'x'\]"),
    ],
)
def test_faults_are_named(root, data, message):
    (root / "list.csv").write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        build_index(root / "list.csv")
    assert len(str(caught.value).splitlines()) == 1


def test_names_in_old_bytes(root):
    import os

    os.rename(os.fsencode(root / "clips" / "b.png"), os.fsencode(root) + b"/clips/caf\xe9.png")
    (root / "list.csv").write_bytes(b"path\nclips/caf\xe9.png\n")
    assert len(build_index(root / "list.csv").entries) == 1
