"""Decoded frames kept for the next time, in memory or on disk, shared by workers and runs. No torch.

A video is kept in pieces of at most 256 frames, uint8 (C, T, H, W) at training resolution: a clip touches one or two
of them, so an hour of film is never decoded for the sake of sixteen frames, and damage costs only the piece it is in.
"""

from __future__ import annotations

import functools
import glob
import io
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vidiff.errors import UsageError
from vidiff.files import replacing
from vidiff.paths import cache_dir
from vidiff.progress import in_threads
from vidiff.video.reader import ReadError

PIECE = 256  # frames
SPARE = 1_000_000_000  # bytes of the disk that are never taken
GRANTS = 16  # a look at the folder entitles to 1/16 of the free room: so many writers at once cannot overdraw it
TOUCHED = 60.0  # seconds for which a file's last use need not be noted again
ABANDONED = 3600.0  # seconds after which a temporary file is abandoned
Decode = Callable[[Sequence[int]], np.ndarray]  # frame numbers -> uint8 (C, T, H, W)


class Video(NamedTuple):
    """A video as the cache sees it.

    Args:
        key: identity of its content and of how it is decoded.
        shape: (C, T, H, W) of the whole of it.
    """

    key: str
    shape: tuple[int, int, int, int]

    @property
    def pieces(self) -> range:
        """Numbers of its pieces."""
        return range(-(-self.shape[1] // PIECE))

    def frames(self, piece: int) -> range:
        """Frame numbers of a piece."""
        return range(piece * PIECE, min((piece + 1) * PIECE, self.shape[1]))

    def piece_shape(self, piece: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a piece."""
        return (self.shape[0], len(self.frames(piece)), *self.shape[2:])


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


class FrameCache:
    """What both kinds share: a clip is put together from pieces; what cannot be kept is decoded as ever.

    Args:
        limit: bytes to keep at most.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.unreadable: set[str] = set()  # pieces that hold a damaged frame: their good clips are still read

    def read(self, video: Video, indices: np.ndarray, decode: Decode) -> np.ndarray:
        """Frames of a video, a new array uint8 (C, T, H, W).

        Args:
            video: which.
            indices: frame numbers, increasing in equal steps.
            decode: frame numbers -> uint8 (C, len(numbers), H, W); may raise ReadError.

        Raises:
            ReadError: one of them cannot be decoded.
        """
        homes = indices // PIECE
        parts = []
        for piece in np.unique(homes).tolist():
            frames = self._piece(video, piece, decode)
            if frames is None:
                return decode(indices)
            inside = indices[homes == piece] - piece * PIECE
            stride = int(inside[1] - inside[0]) if len(inside) > 1 else 1
            # A slice touches the pages of these frames alone, and copies in runs.
            parts.append(frames[:, inside[0] : inside[-1] + 1 : stride])
        return np.concatenate(parts, axis=1)

    def prepare(self, videos: Sequence[Video], decode: Callable[[int, Sequence[int]], np.ndarray]) -> None:
        """Called in the main process before workers start; `decode` takes a position in `videos` as well."""
        raise NotImplementedError

    def _piece(self, video: Video, piece: int, decode: Decode) -> np.ndarray | None:
        """Frames of a piece, or None where it is not to be had."""
        raise NotImplementedError

    def _decode(self, video: Video, piece: int, decode: Decode) -> np.ndarray | None:
        name = f"{video.key}-{piece}"
        if name in self.unreadable:
            return None
        try:
            return decode(np.array(video.frames(piece)))
        except ReadError:
            self.unreadable.add(name)
            return None


class RamCache(FrameCache):
    """Decoded once in the main process and held there; forked workers share the memory, spawned ones get a copy."""

    def __init__(self, limit: int):
        super().__init__(limit)
        self.pieces: dict[str, np.ndarray] = {}

    def prepare(self, videos: Sequence[Video], decode: Callable[[int, Sequence[int]], np.ndarray]) -> None:
        room = self.limit - sum(frames.nbytes for frames in self.pieces.values())
        wanted: dict[str, tuple] = {}  # by name: byte-identical copies are decoded once
        for position, video in enumerate(videos):
            for piece in video.pieces:
                name, size = f"{video.key}-{piece}", math.prod(video.piece_shape(piece))
                if size <= room and not (name in wanted or name in self.pieces or name in self.unreadable):
                    wanted[name] = video, piece, functools.partial(decode, position)
                    room -= size
        jobs = list(wanted.values())
        decoded = in_threads(lambda job: self._decode(*job), jobs, "decoding videos into memory")
        self.pieces |= {name: frames for name, frames in zip(wanted, decoded) if frames is not None}

    def _piece(self, video: Video, piece: int, decode: Decode) -> np.ndarray | None:
        return self.pieces.get(f"{video.key}-{piece}")


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
                    path.unlink()
                except OSError:
                    continue
                free += length
            if free < size:
                self.full = True
                return False
            self._granted = max(size, free // GRANTS)
        self._granted -= size
        return True

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file; abandoned temporary files are removed on the way."""
        for name in glob.iglob("*/*", root_dir=self.folder, include_hidden=True):
            path = self.folder / name
            try:
                status = path.stat()
                temporary = path.name.startswith(".")
                if temporary and time.time() - status.st_mtime > ABANDONED:
                    path.unlink()
                else:
                    yield (math.inf if temporary else status.st_mtime), status.st_size, path
            except OSError:
                continue  # another run removed it


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
