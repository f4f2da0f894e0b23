"""The index of a data set: every video measured once (decodable frames, size, rate), cached by content. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidiff.data.layouts import Item, discover
from vidiff.data.shapes.scene import MARKER
from vidiff.errors import UsageError
from vidiff.files import write_text
from vidiff.paths import cache_dir
from vidiff.progress import in_threads
from vidiff.video.filetype import natural
from vidiff.video.open import choose_decoder, open_reader
from vidiff.video.pictures import peak, white_levels
from vidiff.video.reader import ReadError

CACHE_VERSION = 3  # raise it when a measurement changes meaning


@dataclass(frozen=True)
class Entry:
    """One usable video.

    Args:
        path: relative to the root of the index, with forward slashes.
        kind: `video | strip | frames | image | animation | array`.
        num_frames: frames that can be decoded.
        fps: frames per second; None where the source has none (images).
        width, height: size as displayed, in pixels.
        label: class name or None.
        split: `train | val | test` where folders or a manifest assign it.
        group: group of a manifest; videos of a group stay in one split.
        domain: `A | B` in a two-domain root, else the class.
        sha256: of the content (of a folder of frames: over its names and contents).
        files: names of the frames of a folder; the number of the video in an array, and the order of its axes.
        white: the value that stands for white, in pictures of more than 8 bits; None elsewhere.
        decoder: what reads it, for ever: `pyav` or `decord` for a video, nothing for pictures.
    """

    path: str
    kind: str
    num_frames: int
    fps: float | None
    width: int
    height: int
    label: str | None
    split: str | None
    group: str | None
    domain: str | None
    sha256: str
    files: tuple[str, ...] = ()
    white: float | None = None
    decoder: str = ""


@dataclass(frozen=True)
class Index:
    """What a root holds.

    Args:
        root: the folder that paths are relative to.
        layout: in words.
        entries: usable videos, in natural order of their paths.
        bad: (path, reason) of what claims to be media and cannot be used.
        passed: (path, reason) of everything else that is not used.
    """

    root: Path
    layout: str
    entries: tuple[Entry, ...]
    bad: tuple[tuple[str, str], ...]
    passed: tuple[tuple[str, str], ...] = ()

    @property
    def classes(self) -> list[str]:
        """Class names in natural order; a label is a position in this list."""
        return sorted({e.label for e in self.entries if e.label is not None}, key=natural)

    @property
    def domains(self) -> list[str]:
        """Names of the domains in natural order."""
        return sorted({e.domain for e in self.entries if e.domain is not None}, key=natural)

    @property
    def class_counts(self) -> dict[str, int]:
        """Videos of each class."""
        counts = Counter(e.label for e in self.entries)
        return {name: counts[name] for name in self.classes}

    @property
    def rendered(self) -> bool:
        """Whether the videos are embedded ones: the renderer of `vidiff.data.shapes` leaves its record with them."""
        return (self.root / MARKER).is_file()

    @property
    def fps(self) -> float | None:
        """Median frame rate of the videos that have one."""
        rates = [e.fps for e in self.entries if e.fps]
        return round(statistics.median(rates), 3) if rates else None

    @property
    def fingerprint(self) -> str:
        """Hash of all paths, contents, lengths and labels: the identity of the data set in protocol records."""
        digest = hashlib.sha256()
        for e in self.entries:
            digest.update(json.dumps([e.path, e.sha256, e.num_frames, e.label]).encode())
        return digest.hexdigest()[:16]


def build_index(root: Path | str, backend: str = "pyav", stills: bool = False) -> Index:
    """Find and measure every video under a root; what was measured before is taken from the cache.

    Args:
        root: folder, manifest or single video: see `vidiff.data.layouts`.
        backend: `pyav | auto | decord`: see `choose_decoder`; what it chose is kept with the measurement.
        stills: every image is a video of one frame.
    Raises:
        UsageError: the root does not exist, or its manifest has a fault.
    """
    found = discover(Path(root), stills)
    cache = _Cache(found.root)

    def measure(item: Item) -> Entry | tuple[str, str]:
        try:
            sha = cache.sha256(item)
            size = cache.measured(f"{sha}:{item.kind}:{backend}", lambda: _measure(found.root, item, backend))
            top = None
            if item.deep:
                pictures = [found.root / item.path / name for name in item.files] or [found.root / item.path]
                top = cache.measured(f"{sha}:{item.kind}:peak", lambda: {"peak": peak(pictures)})["peak"]
        except ReadError as error:
            return item.path, error.reason
        except OSError as error:
            return item.path, f"cannot be opened ({error.strerror or error})"
        known = dict(label=item.label, split=item.split, group=item.group, domain=item.domain)
        return Entry(item.path, item.kind, **size, **known, sha256=sha, files=item.files, white=top)

    results = in_threads(measure, found.items, "measuring videos")
    cache.save()
    entries = _with_white_levels([r for r in results if isinstance(r, Entry)])
    bad = found.bad + [r for r in results if not isinstance(r, Entry)]
    bad, passed = (tuple(sorted(files, key=lambda f: natural(f[0]))) for files in (bad, found.passed))
    return Index(found.root, found.layout, entries, bad, passed)


def _measure(root: Path, item: Item, backend: str) -> dict[str, Any]:
    path = root / item.path
    decoder = choose_decoder(path, item.kind, backend)
    return asdict(open_reader(path, item.kind, decoder, item.files).measure()) | {"decoder": decoder}


def _with_white_levels(entries: list[Entry]) -> tuple[Entry, ...]:
    """The entries with the white level of the set in the place of their own peaks."""
    deep = [e.white for e in entries if e.white is not None]
    levels = iter(white_levels(deep))
    return tuple(e if e.white is None else replace(e, white=next(levels)) for e in entries)


class _Cache:
    """Two memories on disk: (path, size, mtime) -> sha256, a file a root; sha256 -> measurement, 256 small files.

    A damaged or unwritable cache costs time, never a result. Writers replace whole files; the last one wins, and what
    it did not know is measured again another time.
    """

    def __init__(self, root: Path):
        self.folder = cache_dir() / "index"
        self.root = root
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
        self.memo_path = self.folder / f"v{CACHE_VERSION}-root-{name}.json"
        self.memo, self.fresh_memo = _load(self.memo_path), {}
        self.shards: dict[str, dict] = {}
        self.touched: set[str] = set()

    def sha256(self, item: Item) -> str:
        if item.kind == "array":
            return hashlib.sha256("\0".join((self._file(item.path), *item.files)).encode()).hexdigest()
        if item.kind != "frames":
            return self._file(item.path)
        digest = hashlib.sha256()
        for name in item.files:
            path = name if item.path == "." else f"{item.path}/{name}"
            digest.update(os.fsencode(f"{name}\0{self._file(path)}\n"))
        return digest.hexdigest()

    def _file(self, path: str) -> str:
        status = os.stat(self.root / path)
        known = self.fresh_memo.get(path) or self.memo.get(path)  # an array is looked up once a video
        if isinstance(known, list) and known[:2] == [status.st_size, status.st_mtime_ns] and len(known) == 3:
            sha = known[2]
        else:
            with open(self.root / path, "rb") as file:
                sha = hashlib.file_digest(file, "sha256").hexdigest()
        self.fresh_memo[path] = [status.st_size, status.st_mtime_ns, sha]
        return sha

    def measured(self, key: str, measure: Callable[[], dict]) -> dict:
        shard = self._shard(key[:2])
        known = shard.get(key)
        if isinstance(known, dict) and known.keys() in ({"num_frames", "fps", "width", "height", "decoder"}, {"peak"}):
            return known
        shard[key] = measure()
        self.touched.add(key[:2])
        return shard[key]

    def _shard(self, name: str) -> dict:
        if name not in self.shards:
            self.shards[name] = _load(self.folder / f"v{CACHE_VERSION}-{name}.json")
        return self.shards[name]

    def save(self) -> None:
        files = {self.folder / f"v{CACHE_VERSION}-{name}.json": self.shards[name] for name in self.touched}
        if self.fresh_memo != self.memo:
            files[self.memo_path] = self.fresh_memo
        try:
            for path, content in files.items():
                write_text(path, json.dumps(content))
        except (OSError, UsageError):
            pass  # a read-only home: measured again next time


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
