"""CSV manifests: path[,label][,split][,group][,domain], also as spreadsheets save them. No torch in here."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from dataclasses import replace
from pathlib import Path, PurePosixPath

from vidiff.data.folders import SPLIT_WORDS, split_of
from vidiff.data.layouts import Found, Item, sort_folder
from vidiff.errors import UsageError
from vidiff.video.filetype import MEDIA_SUFFIXES, natural, sniff

COLUMNS = ("path", "label", "split", "group", "domain")
_ACCEPTED = "path[,label][,split][,group][,domain]"
_WORKBOOKS = {b"PK\x03\x04": "a workbook or archive", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}


def is_manifest(path: Path) -> bool:
    """Whether a file is to be read as a manifest: by its name, or a text that does not claim to be a video."""
    if path.suffix.lower() in (".csv", ".tsv", ".xls", ".xlsx", ".ods"):
        return True
    return path.suffix.lower() not in MEDIA_SUFFIXES and sniff(path) in ("text", "empty")


def read_manifest(path: Path) -> Found:
    """The videos of a manifest; its paths are relative to it.

    Raises:
        UsageError: it has a fault; the message names the line.
    """
    found = Found(path.parent, "CSV manifest")
    seen = {}
    columns, rows = _table(path)
    for line, cell in rows:
        where = f"{path}, line {line}"
        if not cell["path"]:
            raise UsageError(f"{where}: the path is empty")
        name = _existing(path.parent, cell["path"], where)
        if name in seen:
            raise UsageError(f"{where}: {name} was already listed on line {seen[name]}")
        seen[name] = line
        if cell.get("split") and split_of(cell["split"]) is None:
            accepted = ", ".join(sorted(SPLIT_WORDS))
            raise UsageError(f"{where}: split is {cell['split']!r}; accepted: train, val, test ({accepted})")
        for column in ("label", "split", "domain"):
            if column in columns and not cell[column]:
                raise UsageError(f"{where}: {column} is empty; fill it in every line or leave the column out")
        label = cell.get("label") or cell.get("domain")
        domain = cell.get("domain") or cell.get("label")
        split = split_of(cell["split"]) if cell.get("split") else None
        _add_listed(found, name, Item(name, "", label, split, cell.get("group"), domain))
    return found


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """The columns, and (number of the line, its cells) of each line that is not blank."""
    lines = csv.reader(io.StringIO(text := _text(path), newline=""), delimiter=_delimiter(text), skipinitialspace=True)
    columns = None
    rows = []
    try:
        for fields in lines:
            cells = [field.strip() for field in fields]
            if not any(cells) or (columns is None and cells[0].lower().startswith("sep=")):
                continue  # Excel's own first line names its separator
            if columns is None:
                columns = _columns(path, lines.line_num, cells)
                continue
            if any(cells[len(columns) :]) or len(cells) < len(columns):
                few = "more" if any(cells[len(columns) :]) else "fewer"
                raise UsageError(f"{path}, line {lines.line_num}: has {few} fields than the {len(columns)} columns")
            rows.append((lines.line_num, dict(zip(columns, (cell or None for cell in cells)))))
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: not a line of CSV ({error})") from None
    return columns or _columns(path, 1, []), rows


def _columns(path: Path, line: int, cells: list[str]) -> list[str]:
    while cells and not cells[-1]:  # a spreadsheet's empty columns
        cells = cells[:-1]
    columns = [cell.lower() for cell in cells]
    if "path" not in columns or set(columns) - set(COLUMNS) or len(set(columns)) < len(columns):
        raise UsageError(f"{path}, line {line}: columns are {cells}; accepted: {_ACCEPTED}, with commas between them")
    return columns


def _text(path: Path) -> str:
    """The text of a file: UTF-8, UTF-16 with its mark, and line by line Windows-1252 where it is not UTF-8."""
    data = path.read_bytes()
    for start, what in _WORKBOOKS.items():
        if data.startswith(start):
            raise UsageError(f"{path}: {what}, not a text file: save the table as CSV")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    elif data[1:2] == b"\0" and data[3:4] == b"\0":
        data = data.decode("utf-16-le", "replace").encode()
    if b"\0" in data:
        raise UsageError(f"{path}: not a text file: save the table as CSV in UTF-8")
    return "".join(_line(path, n, line) for n, line in enumerate(data.splitlines(keepends=True), 1)).lstrip("\ufeff")


def _line(path: Path, number: int, line: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UsageError(f"{path}, line {number}: neither UTF-8 nor Windows-1252: save the table as CSV in UTF-8")


def _delimiter(text: str) -> str:
    """Comma, semicolon (spreadsheets where the comma is decimal), tab or bar: what separates the names of columns."""
    lines = [line for line in text.splitlines() if line.strip(" \t,;|\"'")]
    if lines and lines[0].lower().strip('"').startswith("sep="):
        lines = lines[1:]
    for delimiter in ",;\t|" if lines else "":
        if {name.strip().strip('"').lower() for name in lines[0].split(delimiter)} - {""} <= set(COLUMNS):
            return delimiter
    return ","


def _existing(root: Path, path: str, where: str) -> str:
    """The path as it is on disk: with slashes, and in the form and encoding of its letters that exists there."""
    slashes = path if (root / path).exists() else path.replace("\\", "/")
    for form in (slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))):
        for name in (form, _old_bytes(form)):
            if name is not None and (root / name).exists():
                return PurePosixPath(name).as_posix()
    if PurePosixPath(slashes).parts[:1] and slashes[1:3] == ":/":
        raise UsageError(f"{where}: {path} is a path of another (Windows) machine; write it relative to the manifest")
    raise UsageError(f"{where}: {root / slashes} does not exist")


def _old_bytes(name: str) -> str | None:
    """A name as a file system holds it that was written in Windows-1252."""
    try:
        return name.encode("cp1252").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def _add_listed(found: Found, name: str, item: Item) -> None:
    """Add one line of a manifest, its kind known from the content. In a folder that is listed, pictures are frames."""
    part = Found(found.root)
    path = found.root / name
    if not path.is_dir():
        sort_folder(part, [path], False, singles := [])
        found.items += [replace(item, kind=i.kind, files=i.files, deep=i.deep) for i in part.items + singles]
        found.bad += part.bad + part.passed  # the manifest lists it
        return
    paths = sorted((p for p in path.iterdir() if p.name[0] != "."), key=lambda p: natural(p.name))
    sort_folder(part, [p for p in paths if not p.is_dir()], False, [], strips=False)
    films = [i for i in part.items if i.kind == "frames"]
    found.items += [replace(item, kind="frames", files=i.files, deep=i.deep) for i in films]
    found.bad += part.bad if films else [(name, "not a folder of same-sized images")]
    found.passed += part.passed if films else []
