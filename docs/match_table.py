"""Copies that `vidiff match` finds, and strangers that it takes for copies: `python docs/match_table.py [FOLDER ...]`.

Every video is indexed, changed in five ways at CRF 28, and looked for; without a folder those are 16 embedded scenes.
At most 100 frames of a video are used, at most 144 pixels of its shorter side.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidiff.data.index import build_index
from vidiff.data.shapes.scene import render_scene
from vidiff.inference.match import LEAST, THRESHOLD, compare
from vidiff.video.fingerprint import QUERY_RATE, fingerprint
from vidiff.video.open import open_reader
from vidiff.video.write import write_mp4

FRAMES, SIDE, KEPT = 100, 144, 0.8
CHOSEN = {"weizmann_actions": slice(None, None, 3), "mocogan_shapes": slice(0, 4000, 400)}  # of large sets


def clips(folders: list[str]) -> Iterator[tuple[str, np.ndarray, float]]:
    """(name, frames uint8 (T, H, W, 3), frames per second)."""
    if not folders:
        for n in range(16):
            yield f"embedded/{n}", render_scene(0, n, "plain", 32, 64), 8.0
    for folder in folders:
        index = build_index(folder, "pyav")
        for entry in index.entries[CHOSEN.get(Path(folder).name, slice(None))]:
            reader = open_reader(index.root / entry.path, entry.kind, "pyav", entry.files, entry.white)
            scale = min(1, SIDE / min(entry.height, entry.width))
            size = [round(side * scale / 2) * 2 for side in (entry.height, entry.width)]
            frames = reader.read(range(min(entry.num_frames, FRAMES)), *size)
            yield f"{Path(folder).name}/{entry.path}", frames, entry.fps or 25.0


def cropped(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A window of 80 % of both sides at a random place."""
    height, width = (round(KEPT * side / 2) * 2 for side in frames.shape[1:3])
    top, left = rng.integers(0, frames.shape[1] - height + 1), rng.integers(0, frames.shape[2] - width + 1)
    return frames[:, top : top + height, left : left + width]


CHANGES = {
    "CRF 28": lambda x, fps, rng: (x, fps),
    "80 % crop": lambda x, fps, rng: (cropped(x, rng), fps),
    "mirrored": lambda x, fps, rng: (x[:, :, ::-1], fps),
    "1.25 x": lambda x, fps, rng: (x, 1.25 * fps),
    "all": lambda x, fps, rng: (cropped(x, rng)[:, :, ::-1], 1.25 * fps),
}


def main(folders: list[str]) -> None:
    rng, known, queries = np.random.default_rng(0), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        for name, frames, fps in clips(folders):
            write_mp4(path, frames, fps, crf=14)
            known[name] = fingerprint(open_reader(path))
            for change, make in CHANGES.items():
                changed, rate = make(frames, fps, rng)
                write_mp4(path, np.ascontiguousarray(changed), rate, crf=28)
                queries[name, change] = fingerprint(open_reader(path), QUERY_RATE, mirror=True)
    sets = list(dict.fromkeys(name.split("/")[0] for name in known))
    for which in sets:
        names = [n for n in known if n.split("/")[0] == which and len(known[n].times) >= LEAST]
        for change in CHANGES:
            found = {n: {m.source for m in compare(n, queries[n, change], known, THRESHOLD)} for n in names}
            strangers = [(n, s) for n in names for s in known if not alike(n, s)]
            right, wrong = sum(n in found[n] for n in names), sum(s in found[n] for n, s in strangers)
            print(f"| {which} | {change} | {right} of {len(names)} | {wrong} of {len(strangers)} |")


def alike(a: str, b: str) -> bool:
    """Whether two are one film: carphone is there twice, with and without damage."""
    return a == b or ("carphone" in a and "carphone" in b)


if __name__ == "__main__":
    main(sys.argv[1:])
