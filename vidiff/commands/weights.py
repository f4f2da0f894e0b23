"""List and fetch the weights files that official metrics (fvd, fid) need."""

# Imports no torch.

from __future__ import annotations

import sys
from pathlib import Path

from vidiff.errors import UsageError, unknown_name
from vidiff.pretrained.weights import MANIFEST, default_folder, file_sha256, find, search_paths
from vidiff.pretrained.weights import fetch as fetch_file


def list_() -> None:
    """Say which weights files are known and which are here."""
    for entry in MANIFEST.values():
        path = find(entry)
        if path is None:
            state = "missing, searched " + ", ".join(str(p.parent) for p in search_paths(entry))
        elif entry.sha256 is None:
            state = f"{path}, sha256 {file_sha256(path)} (none known to compare with)"
        elif file_sha256(path) == entry.sha256:
            state = f"{path}, sha256 as expected"
        else:
            state = f"{path}: WRONG sha256, will be refused"
        print(f"{entry.key}: {entry.file} ({_size(entry.size)})")
        print(f"  for:     {entry.enables}")
        print(f"  license: {entry.license}")
        print(f"  from:    {entry.url}")
        print(f"  sha256:  {entry.sha256 or 'unknown'}{f' ({entry.note})' if entry.note else ''}")
        print(f"  here:    {state}")


def fetch(name: str, *, output: Path | None = None) -> None:
    """Download one file and check its sha256.

    Args:
        name: one of those that `vidiff weights list` shows.
        output: folder (default: VIDIFF_WEIGHTS_DIR or ~/.cache/vidiff/weights).
    """
    if name not in MANIFEST:
        raise UsageError(unknown_name("weights", name, MANIFEST))
    entry = MANIFEST[name]
    here = (output or default_folder()) / entry.file
    if here.is_file() and entry.sha256 and file_sha256(here) == entry.sha256:
        print(f"{here}: already here, sha256 as expected")
        return
    print(f"{entry.file}: {_size(entry.size)}, license: {entry.license}\nfrom {entry.url}")
    path = fetch_file(entry, output, _progress if sys.stderr.isatty() else None)
    known = "as expected" if entry.sha256 else "unknown before, recorded now"
    print(f"{path}: done; sha256 {file_sha256(path)} ({known})")


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:.0f} MB"


def _progress(done: int, total: int | None) -> None:
    share = f"{100 * done / total:5.1f} %" if total else f"{done / 1e6:.1f} MB"
    print(f"\r{share}", end="", file=sys.stderr, flush=True)
