"""The decord backend, for the files on which it was proven exact when they were indexed. No torch in here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vidiff.video.container import local
from vidiff.video.display import orientation, pixel_aspect
from vidiff.video.pictures import resized
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import Info, Reader, ReadError, check_indices

# Widths at which decord 0.6 fails with "from_size == to_size", found by trying all from 2 to 199.
NARROW = {2, 3, 4, 6, 8, 12, 16, 24, 48, 72}
CHUNK = 100_000_000  # bytes of frames compared at a time
SEEKS = 12  # short clips, spread over the file, that have to come out right, too


class DecordReader(Reader):
    """A video file through decord: resized while decoding, one `get_batch`.

    It is for files that `fault` has nothing against. An error while reading is an error of the file; no other decoder
    takes its place, whose pixels would be others. At the widths in NARROW frames are resized after decoding, which
    moves them by up to 2 grey levels.

    A decord reader has a thread of its own. Kept alive by a traceback until after a fork, it ends the worker that
    collects it; so no error is raised from here while a reader can be reached from it.
    """

    def measure(self) -> Info:
        return PyAVReader(self.path).measure()  # the same, or `fault` says so

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        from PIL import Image

        wanted, narrow = [int(i) for i in indices], width in NARROW
        size = dict(width=-1, height=-1) if narrow or not (height and width) else dict(width=width, height=height)

        def batch(reader):
            if 0 <= min(wanted) and max(wanted) < len(reader):
                return reader.get_batch(wanted).asnumpy()
            return len(reader)

        frames = _attempt(self.path, batch, **size)
        if isinstance(frames, int):
            check_indices(self.path, wanted, frames)
        return np.stack([resized(Image.fromarray(f), height, width) for f in frames]) if narrow else frames


def fault(path: Path | str) -> str | None:
    """Why decord's frames of a file are not exactly its frames; None where they are.

    PyAV tells what is right. Only containers in which decord can seek are looked at (MP4, MOV, Matroska, WebM, AVI),
    without hidden frames, turning or pixels that are not square. Then the number of frames and their times have to be
    PyAV's, and so has every frame, to the bit, in turn and in short clips in no order.

    Raises:
        ReadError: PyAV cannot read the file either.
    """
    if find_spec("decord") is None:
        return "decord is not installed"
    sure = PyAVReader(path)
    count, (times, known) = sure.info.num_frames, sure.timestamps()
    if not known:
        return "its times are not those of its frames"
    if reason := _unfit(sure):
        return reason
    with sure.open() as (_, stream):
        seconds = (np.array(times) - times[0]) * float(stream.time_base)
    try:
        own = _attempt(path, lambda r: np.array(r.get_frame_timestamp(list(range(len(r)))))[:, 0])
        if len(own) != count or len(times) != count:
            return f"decord counts {len(own)} frames, there are {count}"
        if not (np.abs(own - own[0] - seconds) < 0.5 * np.diff(seconds).min(initial=np.inf)).all():
            return "decord gives its frames other times"
        step = max(1, CHUNK // (sure.info.height * sure.info.width * 3))
        starts = np.random.default_rng(0).permutation(np.linspace(0, max(0, count - 3), SEEKS).astype(int))
        clips = [range(i, min(i + step, count)) for i in range(0, count, step)]
        clips += [range(i, min(i + 3, count)) for i in starts]
        for clip in [*clips, [count - 1, 0, count // 2, count // 3]]:
            if not np.array_equal(DecordReader(path).read(clip), sure.read(clip)):
                return f"decord gives other frames for {clip[0]} to {clip[-1]}"
    except ReadError as error:
        return error.reason
    return None


def _unfit(sure: PyAVReader) -> str | None:
    """What in a file decord is known to mistake."""
    with sure.open() as (container, stream):
        if not container.format.name.startswith(("mov,", "matroska", "avi")) or not container.duration:
            return "decord cannot seek in such a file"
        if len(container.streams.video) > 1 or pixel_aspect(stream) != 1:
            return "it has several pictures, or pixels that are not square"
        turned = any(orientation(next(container.decode(stream))))
        container.seek(0)
        if turned or any(packet.is_discard for packet in container.demux(stream)):
            return "it is turned, or some of its frames are hidden"
    return None


def _attempt(path: Path | str, use, width: int = -1, height: int = -1):
    """The result of `use` on an open reader of decord.

    Raises:
        ReadError: decord failed, in a few words.
    """
    import decord

    # FFmpeg's own complaints go to stderr and name no file; ours do.
    decord.logging.set_level(decord.logging.QUIET)
    reader = None
    try:
        reader = decord.VideoReader(local(path), ctx=decord.cpu(0), num_threads=1, width=width, height=height)
        return use(reader)
    except (RuntimeError, AssertionError, ValueError, decord.DECORDError) as error:
        reason = _words(error)
    finally:
        del reader
    raise ReadError(path, reason)


def _words(error: Exception) -> str:
    """decord's stack dumps in words."""
    if isinstance(error, UnicodeError):
        return "decord cannot open a file whose name is not UTF-8"
    text = str(error)
    if "size must exactly match" in text:
        return "decord fails on pictures of this width"
    line = next((part.strip() for part in text.splitlines() if part.strip()), type(error).__name__)
    return f"decord fails on it ({line.split('Check failed:')[-1].strip()[:120]})"
