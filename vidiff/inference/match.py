"""Copies of a collection's videos found in others: encoded again, cropped, mirrored, faster or slower, or a part.

Two videos are compared by the hashes of their frames (`vidiff.video.fingerprint`), and then along time: hashes that
agree vote for a speed and an offset, each line with many votes is followed in order, and the stretch of it on which
frames agree is the match.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidiff.data.index import build_index
from vidiff.errors import RunError, UsageError, first_line, one_by_one
from vidiff.files import check_suffix, check_writable, replacing
from vidiff.progress import track
from vidiff.video.filetype import sniff
from vidiff.video.fingerprint import QUERY_RATE, RATE, SIDE, WINDOWS, Fingerprint, fingerprint
from vidiff.video.open import open_reader

SUFFIX, SCHEMA = ".safetensors", "vidiff fingerprints 1"
THRESHOLD = 0.75  # chosen on embedded clips, see docs/authenticity.md
MARGIN = 0.1  # how far below the threshold single frames may be within a match
SPEEDS = (0.5, 0.667, 0.75, 0.8, 0.9, 1.0, 1.1, 1.25, 1.333, 1.5, 2.0)  # of a copy, relative to its source
LINES = 6  # with most votes, that are followed
CHUNK = 1024  # hashes of the collection that are compared at once (memory)
LEAST = 6  # hashes of the source in a match, a second of it
SHORTEST = 0.75  # seconds of the other video in a match: strangers that agree, agree for half a second
REACHES = (2, 1, 0.5)  # of the rounds in which a line is followed and laid anew: 1 / RATE seconds to either side of it
APART = 0.1  # what agreement loses at the ends of this reach
UNNATURAL = 0.97  # what a line counts whose speed is not 1
UNLISTED = 0.97  # and, besides, one whose speed is not in the list


@dataclass(frozen=True)
class Match:
    """A stretch of a video that is a copy of a stretch of one in the collection.

    Args:
        query, source: the video, and the one of the collection that it is a copy of.
        start, end: of the stretch in the query, seconds.
        source_start, source_end: of the same in the source.
        speed: how much faster than its source the copy plays.
        mirrored: left and right are exchanged.
        score: mean agreement of the stretch's hashes, 1 equal, 0 as unrelated pictures.
    """

    query: str
    source: str
    start: float
    end: float
    source_start: float
    source_end: float
    speed: float
    mirrored: bool
    score: float


def build_match_index(
    root: str | Path, output: str | Path, *, say: Callable[[str], None] = print
) -> dict[str, Fingerprint]:
    """Write the fingerprints of every video of a folder into one file; returns them by their paths.

    Args:
        root: folder, manifest or single video.
        output: ends in .safetensors.
        say: is told what cannot be read.

    Raises:
        UsageError: there is no video, or the output cannot be written. RunError: no video can be read.
    """
    output = Path(output)
    check_suffix(output, SUFFIX)
    check_writable(output)
    index = build_index(root, "pyav")
    videos = [e for e in index.entries if e.kind != "image"]
    if not videos:
        raise UsageError(f"{root} holds no video")
    found: dict[str, Fingerprint] = {}
    for entry in track(videos, "hashing"):
        reader = open_reader(index.root / entry.path, entry.kind, "pyav", entry.files, entry.white)
        name = entry.path if entry.kind != "array" else f"{entry.path}[{entry.files[0]}]"
        try:
            found[name] = fingerprint(reader)
        except RunError as error:
            say(str(error))
    for path, reason in index.bad:
        say(f"{path}: {reason}")
    if not found:
        raise RunError(f"{root}: no video could be read")
    write_match_index(output, found)
    return found


def write_match_index(path: Path, fingerprints: dict[str, Fingerprint]) -> None:
    """Write fingerprints as safetensors; names and lengths are in its metadata."""
    from safetensors.numpy import save_file

    values = list(fingerprints.values())
    arrays = {k: np.concatenate([getattr(f, k) for f in values]) for k in ("times", "bits")}
    names = json.dumps([[name, len(f.times)] for name, f in fingerprints.items()])
    metadata = {"schema": SCHEMA, "videos": names, "rate": str(RATE), "windows": json.dumps(WINDOWS)}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata)


def read_match_index(path: str | Path) -> dict[str, Fingerprint]:
    """The fingerprints of a file of `build_match_index`.

    Raises:
        UsageError: no such file, or another one. RunError: it is damaged.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"index {path}: {'a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise UsageError(f"index {path}: no index of `vidiff match index`")
            times, bits = (file.get_tensor(k) for k in ("times", "bits"))
            names, windows = json.loads(metadata["videos"]), json.loads(metadata["windows"])
        ends = np.cumsum([int(count) for _, count in names]).tolist()
        shape = (ends[-1], len(WINDOWS), SIDE * SIDE // 8)
        fits = times.shape == shape[:1] and bits.shape == shape and bits.dtype == np.uint8
        if not fits or [tuple(w) for w in windows] != WINDOWS:
            raise ValueError("its hashes are not those of this version")
    except UsageError:
        raise
    except Exception as error:
        raise RunError(f"index {path} is damaged or no index: {first_line(error)}") from error
    starts = [0, *ends[:-1]]
    parts = {str(n): slice(a, b) for (n, _), a, b in zip(names, starts, ends)}
    return {name: Fingerprint(times[at], bits[at], bits[:0]) for name, at in parts.items()}


def find_matches(
    videos: Iterable[str | Path],
    index: str | Path,
    *,
    threshold: float = THRESHOLD,
    say: Callable[[str], None] = print,
) -> list[Match]:
    """The stretches of videos that are copies of stretches of a collection's, best first.

    Args:
        videos: files.
        index: of the collection, see `build_match_index`.
        threshold: the least score, between 0 and 1.
        say: is told of videos that show nothing to know them by.

    Returns:
        At most one match for each pair of a video and one of the collection.

    Raises:
        UsageError: a file is no video or no index. RunError: one cannot be read; see `matches_of_each`.
    """
    found = []
    for _, matches, error in matches_of_each(videos, index, threshold=threshold, say=say):
        if error:
            raise RunError(error)
        found += matches
    return found


def matches_of_each(
    videos: Iterable[str | Path],
    index: str | Path,
    *,
    threshold: float = THRESHOLD,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[Path, list[Match] | None, str]]:
    """Yield (video, its matches, "") or (video, None, why it cannot be read) of each; see `find_matches`.

    Raises:
        UsageError: a file is no video or no index. RunError: the one video cannot be read.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold must be between 0 and 1, got {threshold}")
    collection = read_match_index(index)
    videos = [Path(video) for video in videos]
    for path in videos:
        if not path.is_file():
            raise UsageError(f"{path}: {'a folder, not a video' if path.is_dir() else 'no such file'}")
        if sniff(path) != "video":
            raise UsageError(f"{path}: not a video")

    def matches(path: Path) -> list[Match]:
        query = fingerprint(open_reader(path), QUERY_RATE, mirror=True)
        if not len(query.times):
            say(f"{path}: every frame is of one color, there is nothing to compare")
        return compare(str(path), query, collection, threshold)

    yield from one_by_one(track(videos, "comparing"), matches, "comparing", alone=len(videos) == 1)


def compare(name: str, query: Fingerprint, collection: dict[str, Fingerprint], threshold: float) -> list[Match]:
    """The matches of one fingerprint in a collection, best first."""
    found = []
    for source, known in collection.items():
        if min(len(query.times), len(known.times)) < LEAST:
            continue
        for mirrored in (False, True):
            best = align(agreement(query, known, mirrored), query.times, known.times, threshold - MARGIN)
            if best is not None and best[-1] >= threshold:
                *stretch, score = best
                found.append(Match(name, source, *(round(x, 3) for x in stretch), mirrored, round(score, 3)))
    best_of: dict[str, Match] = {}
    for match in sorted(found, key=lambda m: -m.score * (m.end - m.start)):
        best_of.setdefault(match.source, match)
    return sorted(best_of.values(), key=lambda m: -m.score)


def agreement(query: Fingerprint, known: Fingerprint, mirrored: bool) -> np.ndarray:
    """1 - 2 d / n for the hashes of n bits of each pair of frames, float16 (Q, K) in [-1, 1]; d is the least Hamming
    distance of the whole of one frame to a window of the other."""
    a = _signs(query.mirrored if mirrored else query.bits)  # (Q, W, n)
    out = np.empty((len(a), len(known.bits)), np.float16)  # which holds these numbers exactly
    for first in range(0, len(known.bits), CHUNK):
        b = _signs(known.bits[first : first + CHUNK])  # (K, W, n)
        best = a[:, 0] @ b[:, 0].T
        for window in range(1, a.shape[1]):
            np.maximum(best, a[:, 0] @ b[:, window].T, out=best)
            np.maximum(best, a[:, window] @ b[:, 0].T, out=best)
        out[:, first : first + CHUNK] = best / a.shape[-1]
    return out


def _signs(bits: np.ndarray) -> np.ndarray:
    """Packed bits (..., bytes) -> -1 and 1, float32 (..., bits)."""
    return np.unpackbits(bits, axis=-1).astype(np.float32) * 2 - 1


def align(
    similar: np.ndarray, query_times: np.ndarray, known_times: np.ndarray, level: float
) -> tuple[float, float, float, float, float, float] | None:
    """The stretch on which frames agree in order.

    Args:
        similar: agreement of frames, (Q, K).
        query_times, known_times: of the frames, rising, seconds.
        level: above which two frames speak for a match, and below which they speak against it.

    Returns:
        (start, end, source start, source end, speed, mean agreement) of the line known = speed * query + offset along
        which agreement is most above the level, over most of either video; None where no LEAST frames agree.
    """
    rows, columns = np.nonzero(similar > level)
    if len(rows) < LEAST:
        return None
    votes = similar[rows, columns].astype(np.float32) - level
    width, lines = 2 / RATE, []
    for speed in SPEEDS:
        offsets = known_times[columns] - speed * query_times[rows]
        places = np.round((offsets - offsets.min()) / width).astype(int)
        counts = np.bincount(places, weights=votes)
        for place in np.argsort(-counts)[:LINES]:
            lines.append((counts[place] * _likely(speed), speed, offsets.min() + place * width))
    found = []
    for _, speed, offset in sorted(lines, reverse=True)[:LINES]:
        for free in (False, True):  # a speed of the list, or the one that fits best
            line = speed, offset
            for reach in REACHES:
                pairs = _follow(similar, query_times, known_times, *line, reach / RATE, level)
                if pairs is None:
                    break
                line = _fitted(pairs, line[0], free)
            else:
                covered = len(pairs.known) / len(known_times) + np.ptp(pairs.query) / np.ptp(query_times)
                found.append((pairs.gain * covered * _likely(line[0]) * (UNLISTED if free else 1), line[0], pairs))
    if not found:
        return None
    _, speed, best = max(found, key=lambda f: f[0])
    ends = best.query[0], best.query[-1], best.known[0], best.known[-1]
    return *map(float, ends), float(speed), float(best.agreement.mean())


def _likely(speed: float) -> float:
    """What a speed's votes count: where little moves lines agree alike, and of those the natural speed wins."""
    return 1.0 if speed == 1 else UNNATURAL - 0.05 * abs(np.log2(speed))


class _Pairs(NamedTuple):
    """Frames of a stretch: times in both videos, agreement, and by how much it is above the level on average."""

    query: np.ndarray
    known: np.ndarray
    agreement: np.ndarray
    gain: float


def _follow(similar, query_times, known_times, speed: float, offset: float, reach: float, level: float):
    """The best run of known frames, each with the best query frame near the line; None where it is too short.

    Known frames are followed, for the query is hashed more often: to each there is one of nearly the same moment.
    """
    wanted = (known_times - offset) / speed
    first, stop = (np.searchsorted(query_times, wanted + side * reach / speed) for side in (-1, 1))
    near = first[:, None] + np.arange(max(1, (stop - first).max()))  # (K, candidates)
    inside = near < stop[:, None]
    near = np.minimum(near, len(query_times) - 1)
    agreed = np.where(inside, similar[near, np.arange(len(wanted))[:, None]], 0.0)
    apart = (query_times[near] - wanted[:, None]) * speed / reach
    worth = np.where(inside, agreed - APART * apart**2, 0.0)  # of equal ones the one nearest to the line
    best = worth.argmax(1)[:, None]
    agreed, worth, near = (np.take_along_axis(x, best, 1)[:, 0] for x in (agreed, worth, near))
    a, b, total = _best_run(worth - level)
    if b - a < LEAST or np.ptp(query_times[near[a:b]]) < SHORTEST:
        return None
    return _Pairs(query_times[near[a:b]], known_times[a:b], agreed[a:b], total / (b - a))


def _fitted(pairs: _Pairs, speed: float, free: bool) -> tuple[float, float]:
    """(speed, offset) of the line that is closest to pairs of frames; the speed as given unless it is free."""
    query, known = pairs.query.mean(), pairs.known.mean()
    spread = ((pairs.query - query) ** 2).sum()
    if free and spread > 0:
        fit = ((pairs.query - query) * (pairs.known - known)).sum() / spread
        speed = float(np.clip(fit, SPEEDS[0], SPEEDS[-1]))
    return speed, known - speed * query


def _best_run(gains: np.ndarray) -> tuple[int, int, float]:
    """(first, behind the last, sum) of the run of numbers with the largest sum (Kadane)."""
    best, best_at, total, first = 0.0, (0, 0), 0.0, 0
    for i, gain in enumerate(gains):
        if total <= 0:
            total, first = 0.0, i
        total += gain
        if total > best:
            best, best_at = total, (first, i + 1)
    return *best_at, best
