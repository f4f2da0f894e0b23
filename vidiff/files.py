"""Small files and paths: settings with a clear error, texts whole or absent, paths from the command line."""

from __future__ import annotations

import argparse
import codecs
import glob
import hashlib
import json
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from vidiff.errors import UsageError, doing

OURS = f".vidiff-{platform.node()[:64]}-"  # then the process's number: what a killed process left is known by it
TEMPORARY = re.compile(r"\.vidiff-.*")  # names that files have only until they are whole


def given_path(text: str) -> Path | str:
    """A path from the command line, `~` written out; an empty one (an unset variable) is no path.

    For `argparse`: otherwise Path("") is the current folder and all that lies below it.
    """
    if text is argparse.SUPPRESS:  # argparse asks for its own mark of a positional that was not given
        return text
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty (an unset variable?)")
    return Path(text).expanduser()


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all; see `replacing`. Line ends stay as they are."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))  # names of files need not be UTF-8


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and programs; NaN and infinity, which JSON lacks, are a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty one.

    Raises:
        UsageError: not UTF-8, not YAML, or no mapping.
    """
    import yaml

    raw = path.read_bytes()
    try:
        content = yaml.safe_load(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        how = "it is UTF-16, as `>` writes in PowerShell (there: | Out-File -Encoding utf8)" if utf16 else "it is not"
        raise UsageError(f"{path} must be saved as UTF-8: {how}") from None
    except RecursionError:
        raise UsageError(f"{path} is not valid YAML: it nests too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:  # a 13th month, `!!int x`
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise UsageError(f"{path} must hold a mapping of settings, not a {type(content).__name__}")
    return content or {}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, of the same suffix; it takes the place of `path` once the block succeeds.

    The folder is made, and what a killed process left there is removed.

    Raises:
        UsageError: `path` lies below a file, is a folder, or cannot be written.
    """
    check_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent.resolve())
        name = f"{OURS}{os.getpid()}-{uuid.uuid4().hex[:12]}.part{path.suffix.lower()}"
        temporary = path.absolute().parent / name
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(f"{path}: cannot write here ({error.strerror or error})") from error
    try:
        with doing(f"writing {path}"):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_suffix(path: Path | str, *accepted: str) -> None:
    """Raise UsageError where a file's name ends in none of these; upper and lower case are the same."""
    suffix = Path(path).suffix
    if suffix.lower() not in accepted:
        raise UsageError(f"{path}: cannot write '{suffix}'; accepted: {', '.join(accepted)}")


def check_writable(path: Path) -> None:
    """Raise UsageError where a file cannot be written under this name; nothing is made on the disk."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise UsageError(f"{path}: cannot write here ({above} is a file, not a folder)")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot write here (no permission to write in {above})")


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder; what a living one is writing stays."""
    if os.name == "nt":  # there, signal 0 is no question but an order
        return
    for left in folder.glob(f"{glob.escape(OURS)}*.part*"):
        try:
            os.kill(int(left.name[len(OURS) :].partition("-")[0]), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (ValueError, OSError):
            pass


def sweep(folder: Path, older_s: float = 0.0) -> None:
    """Remove what killed writers left in a folder; younger files than `older_s` may be another process's work."""
    try:
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime >= older_s:
                path.unlink()
    except OSError:  # gone already, or not ours to touch: it costs some bytes, never a run
        pass
