"""Videos as numbers and frames: one small interface over files (decord, PyAV), folders of images and strips.

Readers hold a path and plain numbers, never an open file: everything is opened and closed inside the call, because a
decoder opened in a parent process hangs the workers forked from it. No torch in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vidiff.data.images import ReadError, list_images, open_rgb, strip_frames
from vidiff.errors import UsageError

# How a source is brought to the training resolution; part of every protocol record.
RESIZE_RULE = {
    "video": "swscale bilinear (antialiased) while decoding",
    "frames": "Pillow bilinear (antialiased)",
    "strip": "Pillow bilinear (antialiased)",
    "image": "Pillow bilinear (antialiased)",
}
BACKENDS = ("decord", "pyav")
# Widths at which decord 0.6 fails with "from_size == to_size", found by trying all from 2 to 199.
NARROW = {2, 3, 4, 6, 8, 12, 16, 24, 48, 72}
FITS = ("crop", "stretch")
__all__ = ["BACKENDS", "FITS", "RESIZE_RULE", "Info", "ReadError", "Reader", "open_reader", "read_square"]


@dataclass(frozen=True)
class Info:
    """What a video measures: decodable frames, frames per second (None: unknown), width and height as displayed."""

    num_frames: int
    fps: float | None
    width: int
    height: int


class Reader:
    """A video on disk. `read` gives frames, `info` measures; both open the file and close it again."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def measure(self) -> Info:
        """Open the file and measure it; the last frame is decoded, so that `num_frames` can be relied on."""
        raise NotImplementedError

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        """Frames as uint8 (T, H, W, 3) RGB, in the order of `indices` (repeats allowed).

        Args:
            indices: frame numbers in 0 .. num_frames-1.
            height, width: size to resize to (see RESIZE_RULE); both None keeps the size of the source.

        Raises:
            ReadError: the file cannot be opened or one of these frames cannot be decoded.
        """
        raise NotImplementedError

    @cached_property
    def info(self) -> Info:
        return self.measure()

    @property
    def num_frames(self) -> int:
        return self.info.num_frames

    @property
    def fps(self) -> float | None:
        return self.info.fps

    @property
    def width(self) -> int:
        return self.info.width

    @property
    def height(self) -> int:
        return self.info.height


class DecordReader(Reader):
    """A video file through decord: resized while decoding, one `get_batch`."""

    def _open(self, height: int | None, width: int | None):
        import decord

        # FFmpeg's own complaints go to stderr and name no file; ours do.
        decord.logging.set_level(decord.logging.QUIET)
        try:
            reader = decord.VideoReader(
                str(self.path), ctx=decord.cpu(0), width=width or -1, height=height or -1, num_threads=1
            )
        except (RuntimeError, AssertionError, decord.DECORDError) as error:
            raise ReadError(self.path, _decord_reason(error)) from None
        if len(reader) < 1:
            raise ReadError(self.path, "the video has no frames")
        return reader

    def measure(self) -> Info:
        import decord

        reader = self._open(None, None)
        count, fps = len(reader), float(reader.get_avg_fps())
        try:
            shape = reader.get_batch([count - 1]).shape
        except (RuntimeError, decord.DECORDError):
            # The header promises more than can be decoded: count what can, from the start.
            reader, shape, count = self._open(None, None), None, 0
            try:
                while True:
                    shape = reader.next().shape[-3:]
                    count += 1
            except (RuntimeError, StopIteration, decord.DECORDError):
                pass
            if shape is None:
                raise ReadError(self.path, "no frame can be decoded") from None
        height, width = shape[-3], shape[-2]
        return Info(count, fps if np.isfinite(fps) and fps > 0 else None, int(width), int(height))

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        import decord

        # decord 0.6 cannot hand over frames of some narrow widths (16, 24, 48, 72 ...): decode larger and average.
        factor = 1 if width is None or width not in NARROW else next(k for k in range(2, 99) if k * width not in NARROW)
        reader = self._open(height and height * factor, width and width * factor)
        try:
            _check_indices(self.path, indices, len(reader))
            return _shrink(reader.get_batch([int(i) for i in indices]).asnumpy(), factor)
        except (RuntimeError, decord.DECORDError) as error:
            if isinstance(error, ReadError):
                raise
            raise ReadError(self.path, _decord_reason(error)) from None


class FramesReader(Reader):
    """A folder of images of one size, one image a frame, in natural order.

    Args:
        path: the folder.
        files: the names of the images in order; None: every image in the folder.
    """

    def __init__(self, path: Path | str, files: Sequence[str] | None = None):
        super().__init__(path)
        self._files = tuple(files) if files else None

    @cached_property
    def files(self) -> tuple[str, ...]:
        if self._files:
            return self._files
        return list_images(self.path)

    def measure(self) -> Info:
        if not self.files:
            raise ReadError(self.path, "the folder holds no images")
        image = open_rgb(self.path / self.files[-1])
        return Info(len(self.files), None, image.width, image.height)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        _check_indices(self.path, indices, len(self.files))
        images = {i: _resized(open_rgb(self.path / self.files[i]), height, width) for i in set(map(int, indices))}
        if len({image.shape for image in images.values()}) > 1:
            raise ReadError(self.path, "the images of this folder are not all of one size")
        return np.stack([images[int(i)] for i in indices])


class ImageReader(FramesReader):
    """A single image: a video of one frame."""

    def __init__(self, path: Path | str):
        path = Path(path)
        super().__init__(path.parent, (path.name,))

    def measure(self) -> Info:
        image = open_rgb(self.path / self.files[0])
        return Info(1, None, image.width, image.height)


class StripReader(Reader):
    """One image that holds a whole video: square frames side by side, or one below the other."""

    def measure(self) -> Info:
        image = open_rgb(self.path)
        side = min(image.size)
        return Info(strip_frames(*image.size) or 1, None, side, side)

    def read(self, indices: Sequence[int], height: int | None = None, width: int | None = None) -> np.ndarray:
        image = open_rgb(self.path)
        side = min(image.size)
        _check_indices(self.path, indices, max(image.size) // side)
        down = image.height > image.width
        frames = []
        for i in map(int, indices):
            x, y = (0, i * side) if down else (i * side, 0)
            frames.append(_resized(image.crop((x, y, x + side, y + side)), height, width))
        return np.stack(frames)


def open_reader(
    path: Path | str, kind: str = "video", backend: str = "decord", files: Sequence[str] | None = None
) -> Reader:
    """The reader for a source.

    Args:
        path: file or folder.
        kind: `video | strip | frames | image`, as the index found it from the content.
        backend: `decord | pyav`, for kind `video`.
        files: names of the images of a folder of frames, in order.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if kind == "frames":
        return FramesReader(path, files)
    if kind == "strip":
        return StripReader(path)
    if kind == "image":
        return ImageReader(path)
    if backend == "pyav":
        from vidiff.data.pyav import PyAVReader

        return PyAVReader(path)
    return DecordReader(path)


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


def _shrink(frames: np.ndarray, factor: int) -> np.ndarray:
    """Mean over factor x factor pixels: (T, factor*H, factor*W, 3) -> (T, H, W, 3)."""
    if factor == 1:
        return frames
    t, h, w, c = frames.shape
    blocks = frames.reshape(t, h // factor, factor, w // factor, factor, c)
    return (blocks.mean((2, 4), dtype=np.float32) + 0.5).astype(np.uint8)


def _resized(image, height: int | None, width: int | None) -> np.ndarray:
    if height and width and image.size != (width, height):
        from PIL import Image

        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _check_indices(path: Path, indices: Sequence[int], count: int) -> None:
    low, high = min(indices), max(indices)
    if low < 0 or high >= count:
        raise ReadError(path, f"frames {low}..{high} were asked for, but the video has only {count}")


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
