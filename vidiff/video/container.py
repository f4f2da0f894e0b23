"""Video files as FFmpeg sees them: opening one, its main stream, what its header says. No torch in here."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from vidiff.errors import RunError
from vidiff.video.reader import ReadError


def av_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises for a file that it cannot read."""
    import av

    return (av.FFmpegError, ValueError, IndexError, OSError)


def reason(error: Exception) -> str:
    """What an error of FFmpeg says, without its number and file name."""
    return getattr(error, "strerror", None) or str(error)


def local(path: Path | str) -> str:
    """A path as FFmpeg takes it: absolute, for it reads `12:30:05.mp4` as a file of the protocol `12`."""
    return os.path.abspath(path)


def open_container(path: Path | str):
    """An open container, to be used in a `with` statement.

    Raises:
        one of `av_errors`: it is none.
    """
    import av

    return av.open(local(path), metadata_errors="replace")


def films(container) -> list:
    """The video streams of a container, without cover pictures and thumbnails."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if not s.disposition & pictures]


def video_stream(container, path: Path | str):
    """The video stream that a player shows, decoded in one thread: never a cover picture.

    Raises:
        ReadError: there is none, or FFmpeg does not know its codec.
    """
    streams = films(container)
    if not streams:
        covers = " (only a cover picture)" if container.streams.video else ""
        raise ReadError(path, f"it holds no video stream{covers}")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise ReadError(path, f"its codec{_codec_tag(path)} is unknown to FFmpeg")
    stream.codec_context.thread_count = 1
    return stream


def stated_frames(path: Path | str) -> int | None:
    """The number of frames that a header states, or else its length makes likely; None where it says nothing."""
    import av

    try:
        with open_container(path) as container:
            stream = video_stream(container, path)
            if stream.frames or not container.duration or not stream.average_rate:
                return stream.frames or None
            return round(container.duration / av.time_base * stream.average_rate)
    except (*av_errors(), RunError):
        return None


def stated_end(stream) -> float | None:
    """Seconds on its own clock at which a film ends by its header, of mkv and avi; None where it says nothing.

    What is missing of an mp4 is an error of FFmpeg's.
    """
    container = stream.container.format.name
    if "matroska" in container:
        stated = re.match(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        return sum(float(part) * unit for part, unit in zip(stated.groups(), (3600, 60, 1))) if stated else None
    if stream.duration is None or container != "avi":
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def comment(path: Path | str) -> str:
    """The comments in a file's header; empty where there is none, or the file cannot be read."""
    try:
        with open_container(path) as container:
            return "; ".join(text for key, text in container.metadata.items() if key.lower() == "comment")
    except av_errors():
        return ""


def has_decoding_times(container, stream) -> bool:
    """Whether timestamps may be those of decoding: AVI, and ASF by some programs, where frames are reordered."""
    return container.format.name in ("avi", "asf") and bool(stream.codec_context.has_b_frames)


def _codec_tag(path: Path | str) -> str:
    """The four letters of a codec in an mp4 or mov, as ` (brxq)`; nothing where they are not found."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(rb"stsd.{12}([ -~]{4})", content, re.DOTALL)
            return f" ({found[1].decode()})" if found else ""
    except (OSError, ValueError):
        return ""
