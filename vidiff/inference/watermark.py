"""Hide a key in every frame of a video, and look for it in others; times, sound and subtitles stay."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.errors import RunError, UsageError, one_by_one
from vidiff.inference.jobs import Translated, find_jobs
from vidiff.inference.marking import PSNR, SHIPPED, TOGETHER, frame_marker, key_bits
from vidiff.inference.translate import run_jobs
from vidiff.inference.watermark_training import read_mark
from vidiff.nn.watermark import Watermark
from vidiff.progress import track
from vidiff.video.filetype import sniff
from vidiff.video.open import open_reader

WATERMARKED = "watermarked by vidiff"
FRAMES = 64  # evenly spread ones are read
SURE = 1e-5  # of 100,000 unmarked videos one agrees as well by chance


@dataclass(frozen=True)
class KeyFound:
    """How well what was read agrees with a key.

    Args:
        key: the text.
        matched: bits that agree.
        p_value: the probability that an unmarked video agrees as well.
    """

    key: str
    matched: int
    p_value: float

    @property
    def sure(self) -> bool:
        """Whether chance is ruled out, as far as SURE goes."""
        return self.p_value <= SURE


@dataclass(frozen=True)
class Reading:
    """What was read in a video.

    Args:
        video: the file.
        message: the bits, as hexadecimal digits; an unmarked video has some, too.
        bits: how many there are.
        frames: how many were read.
        keys: agreement with each key that was asked about.
        error: why nothing could be read, in one line; then the others are empty.
    """

    video: str
    message: str
    bits: int
    frames: int
    keys: list[KeyFound] = field(default_factory=list)
    error: str | None = None


def hexadecimal(bits: Tensor) -> str:
    """Bits (K,), above 0 for a 1, as digits."""
    return np.packbits((bits > 0).numpy().astype(np.uint8)).tobytes().hex()


def chance(matched: int, bits: int) -> float:
    """P(at least `matched` of `bits` fair coins)."""
    return sum(math.comb(bits, k) for k in range(matched, bits + 1)) / 2**bits


def embed_watermark(
    input: str | Path,
    output: str | Path,
    key: str,
    *,
    ckpt: str | Path | None = None,
    psnr: float = PSNR,
    say: Callable[[str], None] = warnings.warn,
) -> list[Translated]:
    """Hide a key in every frame of a video, or of every video of a folder; times, sizes, sound and subtitles stay.

    Args:
        input: a video; a folder, manifest, strip or array of videos.
        output: a .mp4, .mov or .mkv; a folder where the input holds several videos.
        key: any text; the bits of its sha256 are hidden.
        ckpt: a watermark of `vidiff watermark train`; None: the one that comes with the package.
        psnr: of marked frames against the video's, dB, 30 to 50, before they are encoded.
        say: called with a line about what is passed over, or cannot be kept as it was.

    Returns:
        What became of each video. One alone that cannot be marked raises its error instead.

    Raises:
        UsageError: the request cannot be carried out; nothing is written. RunError: the one video cannot be read.
    """
    jobs, unusable = find_jobs(Path(input), Path(output), say)
    change = frame_marker(key, ckpt, psnr)
    return list(run_jobs(jobs, unusable, change, say, origin=None, verb="marking", mark=WATERMARKED))


def read_watermark(
    videos: Sequence[str | Path], keys: Sequence[str] = (), *, ckpt: str | Path | None = None
) -> list[Reading]:
    """What watermark videos carry: the message, and how well it agrees with keys.

    Args:
        videos: files.
        keys: texts that may have been hidden.
        ckpt: see `embed_watermark`.

    Raises:
        UsageError: a file is no video, or a key is empty. RunError: the one video, or the watermark, cannot be read.
    """
    mark, config = read_mark(SHIPPED if ckpt is None else ckpt)
    known = {key: key_bits(key, config.bits) for key in keys}
    videos = [Path(video) for video in videos]
    for path in videos:
        if not path.is_file():
            raise UsageError(f"{path}: {'a folder, not a video' if path.is_dir() else 'no such file'}")
        if sniff(path) != "video":
            raise UsageError(f"{path}: not a video")

    def reading(path: Path) -> Reading:
        logits, frames = video_logits(mark, path)
        agree = {key: int(((logits > 0) == (bits > 0)).sum()) for key, bits in known.items()}
        each = [KeyFound(key, n, chance(n, config.bits)) for key, n in agree.items()]
        return Reading(str(path), hexadecimal(logits), config.bits, frames, each)

    results = one_by_one(videos, reading, "reading", alone=len(videos) == 1)
    return [Reading(str(path), "", 0, 0, [], error) if error else found for path, found, error in results]


def video_logits(mark: Watermark, path: Path) -> tuple[Tensor, int]:
    """The mean logits (K,) over up to 64 frames of a video, evenly spread, and their number.

    Raises:
        RunError: it cannot be read.
    """
    reader = open_reader(path)
    count = reader.info.num_frames
    if not count:
        raise RunError(f"{path}: no frame can be decoded")
    places = sorted({round(i * (count - 1) / max(1, min(FRAMES, count) - 1)) for i in range(min(FRAMES, count))})
    total = torch.zeros(mark.bits)
    for begin in track(range(0, len(places), TOGETHER), path.name):
        images = thwc_to_clip(reader.read(places[begin : begin + TOGETHER])).transpose(0, 1).float() / 255
        with torch.no_grad():
            total += mark.reader(images).sum(0)
    return total / len(places), len(places)
