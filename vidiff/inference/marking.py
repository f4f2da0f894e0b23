"""A key that nobody sees in every frame of what is made: the mark of `vidiff watermark`, put in as frames come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff.clip import clip_to_thwc, thwc_to_clip
from vidiff.errors import UsageError
from vidiff.inference.watermark_training import read_mark
from vidiff.video.provenance import Origin
from vidiff.video.remux import Change
from vidiff.video.write import to_frames

SHIPPED = Path(__file__).parents[1] / "pretrained" / "watermark.safetensors"
CARRIERS = ("mp4", "gif")  # formats of clips
TOGETHER = 8  # frames at a time
PSNR, LEAST_PSNR, MOST_PSNR = 40.0, 30.0, 50.0  # dB


def key_bits(key: str, count: int) -> Tensor:
    """The message of a key, (count,) of -1 and 1: the first bits of the sha256 of its UTF-8.

    Raises:
        UsageError: the key is empty.
    """
    if not key:
        raise UsageError("watermark key: an empty text marks nothing; any other one does")
    digest = np.frombuffer(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest(), np.uint8)
    return torch.from_numpy(np.unpackbits(digest)[:count].astype(np.float32)) * 2 - 1


def frame_marker(key: str, ckpt: str | Path | None = None, psnr: float = PSNR) -> Change:
    """A function of any number of RGB frames uint8 (H, W, 3): the same with a key in them, in constant memory.

    Args:
        key, ckpt, psnr: see `vidiff.inference.watermark.embed_watermark`.

    Raises:
        UsageError: the key is empty, or a number cannot be used. RunError: the watermark's file is damaged.
    """
    if not LEAST_PSNR <= psnr <= MOST_PSNR:
        raise UsageError(f"psnr must be from {LEAST_PSNR:.0f} to {MOST_PSNR:.0f} dB, got {psnr}")
    mark, config = read_mark(SHIPPED if ckpt is None else ckpt)
    bits = key_bits(key, config.bits)

    def change(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        frames = iter(frames)
        while few := list(islice(frames, TOGETHER)):
            images = thwc_to_clip(np.stack(few)).transpose(0, 1).float() / 255  # (T, 3, H, W)
            with torch.no_grad():
                marked = mark(images, bits.expand(len(few), -1), psnr)
            yield from clip_to_thwc((255 * marked).round().byte().transpose(0, 1))

    return change


def marked(key: str | None, change: Change, origin: Origin) -> tuple[Change, Origin]:
    """A change of frames that also hides a key in what it gives, and an origin that says so, though not which key.

    Args:
        key: any text; None: both stay as they are.
        change: what makes the frames.
        origin: what is said of the files.

    Raises:
        UsageError: the key is empty.
    """
    if key is None:
        return change, origin
    marker = frame_marker(key)
    return (lambda frames: marker(change(frames))), replace(origin, watermark=True)


def clip_marker(key: str | None, formats: Sequence[str]) -> Callable[[Tensor], Tensor | np.ndarray]:
    """A function of clips uint8 (C, T, H, W): as RGB frames (T, H, W, 3) with a key in them; None: as they are.

    Args:
        key: any text; None: none.
        formats: what the clips are written as.

    Raises:
        UsageError: the key is empty, or nothing that is written carries it.
    """
    if key is None:
        return lambda clip: clip
    if not set(formats) & set(CARRIERS):
        named = ", ".join(formats)
        raise UsageError(f"watermark: clips carry it in {' and '.join(CARRIERS)}; formats has only {named}")
    marker = frame_marker(key)
    return lambda clip: np.stack(list(marker(to_frames(clip))))
