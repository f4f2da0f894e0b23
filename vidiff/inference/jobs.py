"""What `translate` has to do: which videos an input holds, and where each translation goes. No torch in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np

from vidiff.data.advice import left_out_lines
from vidiff.data.index import Entry, Index, build_index
from vidiff.errors import UsageError, listed
from vidiff.progress import track
from vidiff.video.container import stated_frames
from vidiff.video.filetype import sniff
from vidiff.video.open import open_reader
from vidiff.video.provenance import Origin, finish
from vidiff.video.reader import Reader
from vidiff.video.remux import (
    MARK,
    SUFFIXES,
    UNTIMED_FPS,
    Change,
    check_output,
    identities,
    is_translation,
    record,
    remux,
)
from vidiff.video.spherical import Spherical

UNKNOWN = Origin()


@dataclass(frozen=True)
class Translated:
    """What became of one video.

    Args:
        source: the video.
        path: the file that was written; None: there is none.
        frames: number of frames in it.
        error: why there is none, in one line.
    """

    source: Path
    path: Path | None = None
    frames: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """A video and where its translation goes; `entry` is None for a film that was named itself."""

    source: Path
    target: Path
    entry: Entry | None = None

    def __str__(self) -> str:
        return str(self.source)

    def run(
        self,
        change: Change,
        say: Callable[[str], None],
        made: str = "",
        origin: Origin | None = UNKNOWN,
        shown: Spherical | None = None,
        mark: str = MARK,
    ) -> int:
        """Translate, and say in and beside the file what made it; the number of frames.

        Args:
            change, say: see `vidiff.video.remux.remux`.
            made: words about it for the file's comment, in front of those of `origin`.
            origin: what makes the frames; None: they stay what they were, so that nothing is said of it.
            shown, mark: see `vidiff.video.remux.remux`.

        Raises:
            RunError: the source cannot be read. UsageError: the output cannot be written.
        """

        def tracked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            return track(change(frames), self.source.name, self.num_frames)

        made = "; ".join(filter(None, [made, origin.comment(altered=True) if origin else ""]))
        if self.entry is None or self.entry.kind == "video":
            count = remux(self.source, self.target, tracked, say, made, shown, mark)
        else:
            count = record(self.reader(), self.target, tracked, made, shown, mark)
        if origin:
            finish(self.target, origin, [self.source])
        return count

    def reader(self) -> Reader:
        """The frames by their numbers."""
        if self.entry is None:
            return open_reader(self.source)
        return open_reader(self.source, self.entry.kind, "pyav", self.entry.files, self.entry.white)

    @property
    def num_frames(self) -> int | None:
        """For the progress bar: as measured, or as the header has it, or from the length."""
        return self.entry.num_frames if self.entry is not None else stated_frames(self.source)


def find_jobs(source: Path, target: Path, say: Callable[[str], None]) -> tuple[list[Job], list[Translated]]:
    """The videos of an input, as `data check` counts them, and what cannot be used.

    Args:
        source: a video; a folder, manifest, strip or array of videos.
        target: a file; a folder, where the source may hold several videos.
        say: is told what is passed over.

    Raises:
        UsageError: there is no video, or a translation cannot be written where it would go. Nothing is written before.
    """
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder")
    if source.is_file() and sniff(source) not in ("image", "array") and source.suffix.lower() != ".csv":
        written = target / f"{source.stem}.mp4" if target.is_dir() else target
        _check([Job(source, written)])
        return [Job(source, written)], []
    if target.exists() and source.is_dir() and target.samefile(source):
        raise UsageError(f"output {target} is the input folder: name another, it may lie inside")
    index = build_index(source, "pyav")
    unusable = [Translated(index.root / path, error=f"{index.root / path}: {reason}") for path, reason in index.bad]
    videos, passed = _not_own(index, target)
    passed = [*index.passed, *passed]
    if not videos and source.is_file() and len(passed) == 1 and not unusable:
        raise UsageError(f"{source}: {passed[0][1]}")
    if passed:
        say("\n".join([f"{source}:", *left_out_lines((), passed)]))
    if not videos:
        why = listed(u.error for u in unusable)
        raise UsageError(f"{source} holds no video{':' if why else ''}{why}")
    if untimed := sum(not e.fps and e.kind != "video" for e in videos):
        say(f"pictures and arrays ({untimed} of {len(videos)} videos) have no times: {UNTIMED_FPS} frames a second")
    if len(videos) == 1 and source.is_file() and not target.is_dir():
        jobs = [Job(index.root / videos[0].path, target, videos[0])]
    else:
        if target.is_file() or target.suffix.lower() in SUFFIXES:
            raise UsageError(f"output {target}: the input holds several videos, so the output has to be a folder")
        names = _names(videos, source)
        jobs = [Job(index.root / e.path, target / name, e) for e, name in zip(videos, names)]
    _check(jobs)
    return jobs, unusable


def _check(jobs: list[Job]) -> None:
    """Refuse to replace an input, whatever it is called, and places that cannot be written."""
    sources = identities(job.source for job in jobs)
    for job in jobs:
        check_output(job.target, sources)


def _not_own(index: Index, target: Path) -> tuple[list[Entry], list[tuple[str, str]]]:
    """The videos to translate, and (path, reason) of what is none: pictures, what is below the output, translations."""
    output, root = target.resolve(), index.root.resolve()
    inside = root in output.parents  # otherwise nothing of the input lies in the output folder, or all of it does
    out, translated, passed = [], [], []
    for entry in index.entries:
        path = index.root / entry.path
        if entry.kind == "image":
            passed.append((entry.path, "a single picture, no video"))
        elif inside and output in path.resolve().parents:
            passed.append((entry.path, "in the output folder"))
        else:
            (translated if entry.kind == "video" and is_translation(path) else out).append(entry)
    if not out:  # a folder of nothing but translations was meant
        return translated, passed
    return out, [*passed, *((entry.path, "a translation of this suite") for entry in translated)]


def _names(videos: list[Entry], source: Path) -> list[str]:
    """Names of the outputs, relative to their folder: each once."""
    in_folder = Counter(e.path for e in videos)
    plain, full = [], []
    for e in videos:
        path = Path(source.name if e.path == "." else e.path)
        if e.kind == "array":
            path = path.with_name(f"{path.stem}-{e.files[0]}")
        elif e.kind == "frames" and in_folder[e.path] > 1:
            path = path / Path(e.files[0]).stem
        bare = path if e.kind in ("array", "frames") else path.with_suffix("")
        plain.append(f"{bare}.mp4")
        full.append(f"{path}.mp4")
    # Two that differ in the suffix alone keep it, so that neither overwrites the other.
    names, counts = {}, Counter(plain)
    for short, long in zip(plain, full):
        base = long if counts[short] > 1 else short
        numbered = (f"{base[:-4]}-{number}.mp4" for number in count(2))
        names[next(name for name in chain([base], numbered) if name not in names)] = None
    return list(names)
