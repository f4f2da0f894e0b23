"""List and fetch the weights files of pretrained networks: for metrics, perceptual terms and optical flow."""

# Imports no torch.

from __future__ import annotations

from pathlib import Path

from vidiff.errors import UsageError, unknown_name
from vidiff.paths import weights_dir
from vidiff.pretrained.weights import MANIFEST, file_sha256, state
from vidiff.pretrained.weights import fetch as fetch_file


def list_() -> None:
    """Say which weights files are known and which are here."""
    for entry in MANIFEST.values():
        print(f"{entry.key}: {entry.file} ({_size(entry.size)})")
        print(f"  for:     {entry.enables}")
        print(f"  license: {entry.license}")
        print(f"  from:    {entry.url or entry.source}")
        print(f"  sha256:  {entry.sha256}{f' ({entry.note})' if entry.note else ''}")
        print(f"  here:    {state(entry)}")


def fetch(name: str, *, output: Path | None = None) -> None:
    """Download one file and check its sha256.

    Args:
        name: one of those that `vidiff weights list` shows.
        output: folder (default: VIDIFF_WEIGHTS_DIR or ~/.cache/vidiff/weights).
    """
    if name not in MANIFEST:
        raise UsageError(unknown_name("weights", name, MANIFEST))
    entry = MANIFEST[name]
    here = (output or weights_dir()) / entry.file
    if here.is_file() and entry.matches(file_sha256(here)):
        print(f"{here}: already here, sha256 as expected")
        return
    print(f"{entry.file}: {_size(entry.size)}, license: {entry.license}\nfrom {entry.url or entry.source}")
    path = fetch_file(entry, output)
    print(f"{path}: done; sha256 {file_sha256(path)} as expected")


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:.0f} MB"
