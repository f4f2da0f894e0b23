"""List and fetch the weights files that official metrics (fvd, fid) need."""

# Imports no torch.

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from vidiff.pretrained.weights import MANIFEST, WeightsFile, default_folder, fetch, file_sha256, find, search_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|fetch")
    verbs.add_parser("list", help="which weights are known, which are here", allow_abbrev=False)
    get = verbs.add_parser("fetch", help="download one file and check its sha256", allow_abbrev=False)
    get.add_argument("name", help=f"one of: {', '.join(MANIFEST)}")
    get.add_argument("--to", type=Path, default=None, help="folder (default: VIDIFF_WEIGHTS_DIR or ~/.cache/vidiff)")


def run(args: argparse.Namespace, manifest: Mapping[str, WeightsFile] = MANIFEST) -> int:
    if args.action == "list":
        return _list(manifest)
    from vidiff.errors import UsageError

    if args.name not in manifest:
        raise UsageError(f"unknown weights {args.name!r}; known: {', '.join(manifest)}")
    entry = manifest[args.name]
    here = (args.to or default_folder()) / entry.file
    if here.is_file() and entry.sha256 and file_sha256(here) == entry.sha256:
        print(f"{here}: already here, sha256 as expected")
        return 0
    print(f"{entry.file}: {_size(entry.size)}, license: {entry.license}\nfrom {entry.url}")
    path = fetch(entry, args.to, _progress if sys.stderr.isatty() else None)
    known = "as expected" if entry.sha256 else "unknown before, recorded now"
    print(f"{path}: done; sha256 {file_sha256(path)} ({known})")
    return 0


def _list(manifest: Mapping[str, WeightsFile]) -> int:
    for entry in manifest.values():
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
    return 0


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:.0f} MB"


def _progress(done: int, total: int | None) -> None:
    share = f"{100 * done / total:5.1f} %" if total else f"{done / 1e6:.1f} MB"
    print(f"\r{share}", end="", file=sys.stderr, flush=True)
