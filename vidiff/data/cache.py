"""Decoded frames kept for the next time: what caches on disk and in memory share, and the one in memory. No torch.

A video is kept in pieces of at most 256 frames, uint8 (C, T, H, W) at training resolution: a clip touches one or two
of them, so an hour of film is never decoded for the sake of sixteen frames, and damage costs only the piece it is in.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vidiff.progress import in_threads
from vidiff.video.reader import ReadError

PIECE = 256  # frames
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
