"""Videos as numbers and frames: one small interface over files (decord, PyAV), folders of images and strips.

Readers hold a path and plain numbers, never an open file: everything is opened and closed inside the call, because a
decoder opened in a parent process hangs the workers forked from it. No torch in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidiff.data.images import ReadError
from vidiff.data.pyav import Info, PyAVReader, Reader, _check_indices
from vidiff.data.stills import AnimationReader, ArrayReader, FramesReader, ImageReader, StripReader
from vidiff.errors import UsageError

# How a source is brought to the training resolution; part of every protocol record.
RESIZE_RULE = {
    "video": "swscale bilinear (antialiased) while decoding",
    "frames": "Pillow bilinear (antialiased)",
    "strip": "Pillow bilinear (antialiased)",
    "image": "Pillow bilinear (antialiased)",
    "animation": "Pillow bilinear (antialiased)",
    "array": "Pillow bilinear (antialiased)",
}
BACKENDS = ("decord", "pyav")
# Widths at which decord 0.6 fails with "from_size == to_size", found by trying all from 2 to 199. PyAV reads those:
# decoding larger and averaging would be another resize rule (1 to 5 grey levels away instead of 0.1 to 0.4).
NARROW = {2, 3, 4, 6, 8, 12, 16, 24, 48, 72}
FITS = ("crop", "stretch")
RETRIES = 8  # of decord, for frames that PyAV can read
__all__ = ["BACKENDS", "FITS", "RESIZE_RULE", "Info", "ReadError", "Reader", "open_reader", "read_square"]


class DecordReader(Reader):
    """A video file through decord: resized while decoding, one `get_batch`.

    A decord reader has a thread of its own. Kept alive by a traceback until after a fork, it ends the worker that
    collects it; so no error is raised from here while a reader can be reached from it.
    """

    def _open(self, height: int | None, width: int | None):
        import decord

        # FFmpeg's own complaints go to stderr and name no file; ours do.
        decord.logging.set_level(decord.logging.QUIET)
        size = dict(width=width or -1, height=height or -1)
        try:
            reader = decord.VideoReader(str(self.path), ctx=decord.cpu(0), num_threads=1, **size)
            if len(reader) > 0:
                return reader
            reason = "the video has no frames"
        except (RuntimeError, AssertionError, decord.DECORDError) as error:
            reason = _decord_reason(error)
        reader = None
        raise ReadError(self.path, reason)

    def measure(self) -> Info:
        # PyAV says what is wrong with a file in fewer words, and decord writes to stderr when it cannot open one.
        PyAVReader(self.path).times()
        reader = self._open(None, None)
        count, fps = len(reader), float(reader.get_avg_fps())
        del reader
        try:
            height, width = self.read([count - 1]).shape[1:3]
        except ReadError:
            # The header promises more than can be decoded. PyAV counts what can, because here decord's errors depend
            # on timing, too.
            info = PyAVReader(self.path).measure()
            count, height, width = min(count, info.num_frames), info.height, info.width
        return Info(count, fps if np.isfinite(fps) and fps > 0 else None, int(width), int(height))

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        if width in NARROW:
            return PyAVReader(self.path).read(indices, height, width)
        frames, retry = self._batch(indices, height, width)
        if frames is not None:
            return frames
        # decord decodes ahead: damage further on may surface before the frames asked for, or after, so its errors
        # depend on timing. PyAV decodes no more than is asked for, and so it decides what can be read.
        sure = PyAVReader(self.path).read(indices, height, width)
        for _ in range(RETRIES if retry else 0):
            frames, retry = self._batch(indices, height, width)
            if frames is not None:
                return frames
        return sure

    def _batch(self, indices: Sequence[int], height: int | None, width: int | None) -> tuple[np.ndarray | None, bool]:
        """The frames, or None and whether it is worth trying again."""
        import decord

        reader = self._open(height, width)
        count = len(reader)
        if 0 <= min(indices) and max(indices) < count:
            try:
                first, last = reader.get_frame_timestamp([0, count - 1])[:, 0]
                if first < -1e9 or last < -1e9:
                    return None, False  # no timestamps (H.264 in avi): decord silently seeks to wrong frames
                return reader.get_batch([int(i) for i in indices]).asnumpy(), False
            except (RuntimeError, decord.DECORDError) as error:
                # Otherwise the source itself is as narrow as NARROW, or a build of decord has other such widths.
                return None, "size must exactly match" not in str(error)
        del reader
        _check_indices(self.path, indices, count)
        return None, False


def open_reader(
    path: Path | str,
    kind: str = "video",
    backend: str = "decord",
    files: Sequence[str] | None = None,
    white: float | None = None,
) -> Reader:
    """The reader for a source.

    Args:
        path: file or folder.
        kind: `video | strip | frames | image | animation | array`, as the index found it from the content.
        backend: `decord | pyav`, for kind `video`.
        files: names of the images of a folder of frames, in order; the number of the video in an array, and the
            order of its axes.
        white: the value that stands for white in pictures of more than 8 bits.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if kind == "frames":
        return FramesReader(path, files, white)
    if kind == "strip":
        return StripReader(path, white)
    if kind == "image":
        return ImageReader(path, white)
    if kind == "animation":
        return AnimationReader(path, white)
    if kind == "array":
        return ArrayReader(path, int(files[0]), *files[1:])
    return PyAVReader(path) if backend == "pyav" else DecordReader(path)


def read_square(
    reader: Reader, indices: Sequence[int], resolution: int, fit: str = "crop", size: tuple[int, int] | None = None
) -> np.ndarray:
    """Frames at `resolution`, uint8 (T, resolution, resolution, 3).

    Args:
        reader: the video.
        indices: frame numbers.
        resolution: height and width wanted.
        fit: `crop`: the shorter side is resized to `resolution`, then the centre is cut out. `stretch`: both sides
            are resized, the aspect ratio changes.
        size: (width, height) of the source where already known; saves opening the file twice.
    """
    if fit not in FITS:
        raise UsageError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    if fit == "stretch":
        return reader.read(indices, resolution, resolution)
    width, height = size or (reader.width, reader.height)
    scale = resolution / min(width, height)
    width, height = max(resolution, round(width * scale)), max(resolution, round(height * scale))
    frames = reader.read(indices, height, width)  # (T, height, width, 3)
    top, left = (height - resolution) // 2, (width - resolution) // 2
    return frames[:, top : top + resolution, left : left + resolution]


def _decord_reason(error: Exception) -> str:
    """decord's stack dumps in words."""
    text = str(error)
    if "cannot find video stream" in text:
        return "it holds no video stream"
    if "Error reading" in text:
        return "not a readable video (damaged or cut off, or not a video at all)"
    if "Invalid frame count" in text or "no frames" in text.lower():
        return "the video has no frames"
    line = next((part.strip() for part in text.splitlines() if part.strip()), type(error).__name__)
    return f"damaged ({line.split('Check failed:')[-1].strip()[:120]})"
