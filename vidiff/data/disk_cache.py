"""Decoded frames kept on disk: memory-mapped, shared by workers and runs, within a limit of bytes. No torch."""

from __future__ import annotations

import functools
import io
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vidiff.data.cache import Decode, FrameCache, RamCache, Video
from vidiff.errors import UsageError
from vidiff.files import replacing
from vidiff.paths import cache_dir

SPARE = 1_000_000_000  # bytes of the disk that are never taken
GRANTS = 16  # a look at the folder entitles to 1/16 of the free room: so many writers at once cannot overdraw it
TOUCHED = 60.0  # seconds for which a file's last use need not be noted again
ABANDONED = 3600.0  # seconds after which a temporary file is abandoned


def open_cache(kind: str, limit: int, need: int) -> FrameCache | None:
    """The cache of a run, with a warning where it cannot keep everything.

    Args:
        kind: `none | ram | disk`.
        limit: bytes to keep at most.
        need: bytes of all videos decoded.
    """
    if kind == "none":
        return None
    if need > limit:
        warnings.warn(
            f"decoded, the videos take {need / 1e9:.1f} GB, more than cache_limit_gb={limit / 1e9:g}: the rest is "
            "decoded each time",
            stacklevel=3,
        )
    if kind == "ram":
        return RamCache(limit)
    cache = DiskCache(limit)
    if reason := cache.unusable():
        warnings.warn(f"decoded frames are not kept: {reason}; VIDIFF_CACHE_DIR moves the cache", stacklevel=3)
        return None
    return cache


class DiskCache(FrameCache):
    """`.npy` files under `$VIDIFF_CACHE_DIR/frames`, written on first use and mapped into memory on every other.

    Files appear whole (a temporary name, then a rename), so writers killed half-way or working on the same video at
    once do no harm; a file whose header or length is not the expected one is made again. When room is needed the
    least recently used files go, never one that was used since this run began; once everything is in use, what does
    not fit is decoded each time. A disk that cannot be written costs time, never a result.

    Args:
        limit: bytes of the whole folder, all runs together.
        folder: instead of `$VIDIFF_CACHE_DIR/frames`.
    """

    def __init__(self, limit: int, folder: Path | str | None = None):
        super().__init__(limit)
        self.folder = Path(folder) if folder else cache_dir() / "frames"
        self.started = time.time()
        self.full = False
        self._granted = 0
        self._claimed: set[str] = set()

    def unusable(self) -> str | None:
        """Why nothing can be written; None when it can."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
            return None
        except OSError as error:
            return f"{self.folder} cannot be written ({error.strerror})"

    def prepare(self, videos: Sequence[Video], decode: Callable[[int, Sequence[int]], np.ndarray]) -> None:
        """Mark the files that are there as used by this run, so that it does not throw away what it needs next."""
        for video in videos:
            if video.key not in self._claimed:
                self._claimed.add(video.key)
                for piece in video.pieces:
                    _touch(self._path(video, piece))

    def _path(self, video: Video, piece: int) -> Path:
        return self.folder / video.key[:2] / f"{video.key}-{piece}.npy"

    def _piece(self, video: Video, piece: int, decode: Decode) -> np.ndarray | None:
        path, shape = self._path(video, piece), video.piece_shape(piece)
        frames = _open(path, shape)
        if frames is not None:
            return frames
        size = math.prod(shape)
        if not self._room(size):
            return None
        frames = self._decode(video, piece, decode)
        if frames is not None:
            assert frames.shape == shape, (frames.shape, shape)
            self.full |= not _store(path, frames)
        return frames

    def _room(self, size: int) -> bool:
        """Whether `size` bytes may be written; old files of other runs make way."""
        if self.full or size > self.limit:
            return False
        if self._granted < size:
            files = sorted(self._files())
            try:
                spare = shutil.disk_usage(self.folder).free - SPARE
            except OSError:  # the folder was removed; the first file brings it back
                spare = size
            free = min(self.limit - sum(length for _, length, _ in files), spare)
            for used, length, path in files:
                if free >= max(size, self.limit // GRANTS) or used >= self.started:
                    break
                try:
                    os.unlink(path)
                except OSError:
                    continue
                free += length
            if free < size:
                self.full = True
                return False
            self._granted = max(size, free // GRANTS)
        self._granted -= size
        return True

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """(last use, bytes, path) of every file; abandoned temporary files are removed on the way."""
        for folder in _scan(self.folder):
            for file in _scan(folder.path) if folder.is_dir() else ():
                try:
                    status = file.stat()
                    temporary = file.name.startswith(".")
                    if temporary and time.time() - status.st_mtime > ABANDONED:
                        os.unlink(file.path)
                    else:
                        yield (math.inf if temporary else status.st_mtime), status.st_size, file.path
                except OSError:
                    continue  # another run removed it


def _scan(folder: Path | str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


@functools.cache
def _header(shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file of this shape, to the byte."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    return buffer.getvalue()


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array of a file, mapped; None if there is none or it is not whole."""
    head = _header(shape)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size != len(head) + math.prod(shape) or file.read(len(head)) != head:
                return None
            if time.time() - status.st_mtime > TOUCHED:
                _touch(path)
            return np.asarray(np.memmap(file, np.uint8, "r", offset=len(head), shape=shape))
    except (OSError, ValueError):
        return None


def _touch(path: Path) -> None:
    try:
        os.utime(path, (time.time(),) * 2)
    except OSError:
        pass


def _store(path: Path, frames: np.ndarray) -> bool:
    """Write an array whole or not at all; whether that worked."""
    try:
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                file.write(_header(frames.shape))
                file.write(memoryview(np.ascontiguousarray(frames)).cast("B"))
                file.flush()
                os.fsync(file.fileno())  # or a power failure leaves the right length with zeros in it
            _touch(temporary)
        return True
    except (OSError, UsageError):
        return False
