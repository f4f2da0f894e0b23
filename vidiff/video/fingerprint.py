"""Perceptual hashes of a video's frames: a few bits that survive another encoding.

A hash is the `phash` of the package ImageHash, bit for bit: the signs of the low frequencies of a cosine transform
around their median. It is made of the frame and of windows of it, for a copy may be a window. No torch in here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vidiff.video.container import av_errors
from vidiff.video.display import Picture
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import Reader, ReadError

RATE = 5.0  # hashes a second
QUERY_RATE = 15.0  # of a video that is looked for: where much moves, a tenth of a second is another picture
HELD = 30.0  # seconds that a frame is taken to be on show, at most
UNTIMED_FPS = 8.0  # of pictures and arrays
SIDE = 8  # low frequencies each way: 64 bits
SHORTER = 96  # pixels of the shorter side that hashes are made of
FLAT = 4.0  # grey levels: the standard deviation below which a frame has no picture to know it by
PLACES = {0.9: 3, 0.8: 5}  # side of a window as a share of the frame's -> places of it, each way


def _windows() -> list[tuple[float, float, float]]:
    """(left, top, side) in shares of the frame: the whole first, then the windows of each size, 0.05 apart."""
    inner = []
    for side, count in PLACES.items():
        steps = [(1 - side) * k / (count - 1) for k in range(count)]
        inner += [(x, y, side) for y in steps for x in steps]
    return [(0.0, 0.0, 1.0), *inner]


WINDOWS = _windows()


@dataclass(frozen=True)
class Fingerprint:
    """The hashes of a video.

    Args:
        times: of the hashed frames, seconds from the first, (T,) float32.
        bits: packed, (T, windows, SIDE * SIDE / 8) uint8; the whole frame is window 0.
        mirrored: the same of the mirrored frames; empty of a video of the collection.
    """

    times: np.ndarray
    bits: np.ndarray
    mirrored: np.ndarray


def fingerprint(reader: Reader, rate: float = RATE, mirror: bool = False) -> Fingerprint:
    """The hashes of a video, `rate` a second; frames without a picture (black, faded) have none.

    Args:
        reader: the video.
        rate: RATE of a collection's video, QUERY_RATE of one that is looked for in it.
        mirror: also hash the mirrored frames, as is needed of a query, not of the collection.

    Raises:
        RunError: the video cannot be read.
    """
    from PIL import Image

    times, plain, flipped = [], [], []
    for shown, frame in sampled_frames(reader, rate):
        image = Image.fromarray(frame).convert("L")
        scale = SHORTER / min(image.size)
        image = image.resize([max(8, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
        if np.asarray(image).std() < FLAT:
            continue
        low = _low_frequencies(image)
        times += shown
        plain += [_signs_around_median(low)] * len(shown)
        if mirror:
            # Its cosines of odd frequency change their sign; the windows are those of the other side, all the same.
            odd = np.where(np.arange(SIDE) % 2, -1.0, 1.0)
            flipped += [_signs_around_median(low * odd)] * len(shown)
    shape = (0, len(WINDOWS), SIDE * SIDE // 8)
    stack = [np.stack(x) if x else np.zeros(shape, np.uint8) for x in (plain, flipped)]
    return Fingerprint(np.asarray(times, np.float32), *stack)


def hashes(image) -> np.ndarray:
    """The packed hashes of a grey PIL picture and of its windows, (windows, bytes)."""
    return _signs_around_median(_low_frequencies(image))


def _low_frequencies(image) -> np.ndarray:
    """Of a grey PIL picture and of its windows, (windows, SIDE down, SIDE across)."""
    from PIL import Image

    width, height = image.size
    side = 4 * SIDE  # pixels of the transform
    parts = []
    for left, top, share in WINDOWS:
        box = (left * width, top * height, (left + share) * width, (top + share) * height)
        parts.append(np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box), np.float64))
    k, n = np.arange(SIDE)[:, None], np.arange(side)[None]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * side))  # DCT-II, its low frequencies
    return basis @ np.stack(parts) @ basis.T


def _signs_around_median(low: np.ndarray) -> np.ndarray:
    """(windows, SIDE, SIDE) -> packed bits (windows, bytes)."""
    low = low.reshape(len(low), -1)
    return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)


def sampled_frames(reader: Reader, rate: float) -> Iterator[tuple[list[float], np.ndarray]]:
    """(times, RGB frame) of the frames that are on show at 0, 1 / rate, 2 / rate ... seconds from the first.

    A frame lasts until the next one comes, by the times of the file, so that dropped frames leave no gap (but a frame
    is not held longer than HELD); the last one lasts as long as the one before it. Decoded once from the start.

    Raises:
        ReadError: no frame can be decoded.
    """
    number, begin, end, held = 0, 0.0, 0.0, None

    def due() -> list[float]:
        last = min(end, begin + HELD)
        return [i / rate for i in range(number, math.ceil((last - 1e-6) * rate))]

    for time, make in _timed(reader):
        begin, end = end, time
        if held is not None and (times := due()):
            yield times, held()
        number, held = max(number, math.ceil((time - 1e-6) * rate)), make
    if held is None:
        raise ReadError(reader.path, "no frame can be decoded")
    begin, end = end, max(2 * end - begin, end + 2e-6)
    if times := due():
        yield times, held()


def _timed(reader: Reader) -> Iterator:
    """(seconds, function that gives the frame) of every frame in order."""
    if not isinstance(reader, PyAVReader):
        fps = reader.info.fps or UNTIMED_FPS
        for i in range(reader.info.num_frames):
            yield i / fps, lambda i=i: reader.read([i])[0]
        return
    with reader.open() as (container, stream):
        picture = Picture(stream)
        fps, first, number = float(stream.average_rate or stream.guessed_rate or 25), None, 0
        try:
            for frame in container.decode(stream):
                time = number / fps if frame.time is None else frame.time
                first = time if first is None else first
                yield time - first, lambda frame=frame: picture(frame)
                number += 1
        except av_errors():
            return  # damaged from here on: what was read counts
