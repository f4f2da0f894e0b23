"""From a video to a video file, frame by frame: times, aspect, colours and sound stay. No torch in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from vidiff import __version__
from vidiff.errors import RunError, UsageError
from vidiff.files import check_suffix, check_writable
from vidiff.video.container import av_errors, comment, open_container, reason
from vidiff.video.encode import Encoder, new_container
from vidiff.video.film import Film, Slides
from vidiff.video.reader import Reader

SUFFIXES = (".mp4", ".mov", ".mkv")
MARK = "translated by vidiff"  # in the comment of every output: nobody takes it for the original, this suite neither
Change = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


def identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Device and inode of each file: links and other spellings have the same."""
    return {(status.st_dev, status.st_ino) for status in (p.stat() for p in paths if p.is_file())}


def check_output(target: Path, sources: set[tuple[int, int]]) -> None:
    """Raise UsageError where `target` is one of the sources, under whatever name, or cannot be written.

    Args:
        target: a file that need not exist.
        sources: `identities` of the inputs.
    """
    check_suffix(target, *SUFFIXES)
    if identities([target]) & sources:
        raise UsageError(f"{target}: the output would replace the input")
    check_writable(target)


def remux(source: Path, target: Path, change: Change, warn: Callable[[str], None] = print) -> int:
    """Write `target` with the frames that `change` makes of those of a film; returns their number.

    Every frame keeps its time and its duration, on a clock that starts at 0; pixel aspect and the tags of the colours
    stay. Sound is copied where the output can hold it, else encoded. H.264, 4:2:0 (4:4:4 where a side is odd).

    Args:
        source: a video file.
        target: ends in .mp4, .mov or .mkv; appears only when it is whole.
        change: RGB frames uint8 (H, W, 3) in, as many frames out in the same order (they may be of another size).
        warn: called with what cannot be kept as it was.

    Raises:
        RunError: the source cannot be read, or the frames not be encoded. UsageError: the output cannot be written.
    """
    check_output(target, identities([source]))
    try:
        reader = open_container(source)
    except av_errors() as error:
        raise RunError(f"{source}: not a readable video ({reason(error)})") from error
    with reader:
        shown = Film(reader, source, lambda text: warn(f"{source}: {text}"))
        return _write(target, change(shown.frames()), shown)


def record(reader: Reader, target: Path, change: Change) -> int:
    """Write `target` with the frames that `change` makes of pictures or arrays; returns their number."""
    return _write(target, change(reader.read([i])[0] for i in range(reader.num_frames)), Slides(reader))


def is_translation(path: Path) -> bool:
    """Whether this suite wrote a video: its comment says so."""
    return MARK in comment(path)


def _write(target: Path, images: Iterable[np.ndarray], shown: Film | Slides) -> int:
    """Encode frames; the folder, and anything in it, is made when the first has come."""
    images = iter(images)
    first = next(images)
    with new_container(target) as writer:
        # Without B-frames a file's last packet is its last frame, so that every frame lasts exactly as long as it did.
        encoder = Encoder(writer, *first.shape[:2], shown.form, bf="0")
        _keep_metadata(writer, shown.metadata)
        return _encode(writer, encoder, chain([first], images), shown)


def _keep_metadata(writer, metadata: dict[str, str]) -> None:
    """Title, artist and date of the source, and in the comment that this is a translation."""
    writer.metadata.update({k: v for k, v in metadata.items() if k.lower() in ("title", "artist", "date")})
    old = next((v for k, v in metadata.items() if k.lower() == "comment"), "")
    writer.metadata["comment"] = "; ".join(filter(None, [old, f"{MARK} {__version__}"]))


def _encode(writer, encoder: Encoder, images: Iterable[np.ndarray], shown: Film | Slides) -> int:
    """Encode every frame at its time, with the sound that is due before it; the number of frames."""
    tracks, durations, count = shown.attach(writer), {}, 0

    def mux(packets: list) -> None:
        for packet in packets:  # x264 forgets durations, and containers then guess how long the last frame stands
            packet.duration = durations.pop(packet.pts)
            writer.mux(packet)

    for image in images:
        time, duration = shown.next_time()
        durations[time] = duration
        if tracks is not None:
            tracks.write_until(time * shown.form.time_base)
        mux(encoder.encode(image, time))
        count += 1
    if shown.last_lasts > 0 and time in durations:
        durations[time] = shown.last_lasts
    mux(encoder.flush())
    if tracks is not None:
        tracks.write_until(None)
    return count
