"""Find copies of a collection's videos in others: encoded again, cropped, mirrored, faster or slower, or a part."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from vidiff.errors import RunError, listed
from vidiff.progress import say


def index(folder: Path, *, output: Path) -> None:
    """Write the fingerprints of every video of a folder into one file.

    Args:
        folder: folder, manifest or single video.
        output: the file, ending in .safetensors.
    """
    from vidiff.inference.match import build_match_index

    found = build_match_index(folder, output, say=say)
    print(f"{len(found)} videos, {sum(len(f.times) for f in found.values())} hashed frames in {output}")


def find(videos: list[Path], *, index: Path, threshold: float | None = None, json_: bool = False) -> None:
    """Print the stretches of videos that are copies of stretches of a collection's.

    Args:
        videos: files.
        index: of the collection, written by `vidiff match index`.
        threshold: the least score, between 0 and 1 (default: chosen on embedded clips).
        json_: print a JSON list.
    """
    from vidiff.inference.match import THRESHOLD, matches_of_each

    threshold = THRESHOLD if threshold is None else threshold
    results = list(matches_of_each(videos, index, threshold=threshold, say=say))
    found = [match for _, matches, error in results if not error for match in matches]
    if json_:
        print(json.dumps([asdict(match) for match in found], indent=2))
    for m in () if json_ else found:
        how = [f"{m.speed:.2f} x as fast"] if m.speed != 1 else []
        how = ", ".join([*how, *(["mirrored"] if m.mirrored else [])])
        print(
            f"{m.query} {m.start:.2f}-{m.end:.2f} s is {m.source} {m.source_start:.2f}-{m.source_end:.2f} s, "
            f"score {m.score:.2f}{how and f' ({how})'}"
        )
    failed = [error for *_, error in results if error]
    if not found and not json_ and len(failed) < len(results):
        print("no copies found")
    if failed:
        raise RunError(f"{len(failed)} of {len(results)} files could not be compared:{listed(failed)}")
