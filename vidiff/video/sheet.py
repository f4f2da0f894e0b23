"""Many clips at one glance: contact sheets and videos of clips side by side. Importing it does not import torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidiff.video.write import to_frames, write_mp4

if TYPE_CHECKING:
    from torch import Tensor

PAPER, INK, RULE = (250, 250, 248), (32, 32, 36), (196, 196, 192)
GAP, MARGIN = 2, 8  # pixels between tiles, and around blocks
FONT_SIZE = 16
MIN_SIDE = 64  # pixels that a tile has at least
MAX_FRAMES = 8  # of a clip in a strip


def sheet(groups: Sequence[tuple[str, Tensor | np.ndarray]]) -> np.ndarray:
    """A contact sheet: time runs to the right, clips run down, each group of clips under its title; nothing is cropped.

    Of each clip up to 8 frames are shown, evenly spaced from the first to the last, and at least 64 pixels large.

    Args:
        groups: (title, uint8 clips (N, C, T, H, W)); arrays are (N, T, H, W, C). Groups may differ in size and length.

    Returns:
        uint8 (H, W, 3).
    """
    blocks = [(title, [_strip(clip) for clip in _clips(clips)]) for title, clips in groups]
    if not blocks:
        raise ValueError("a contact sheet needs at least one group of clips")
    font, columns = ImageFont.load_default(size=FONT_SIZE), [_column(strips) for _, strips in blocks]
    widest = max(column.width for column in columns)
    texts = [_wrap(title, font, widest) for title, _ in blocks]
    sizes = [_text_size(text, font) for text in texts]
    width = max(widest, *(width for width, _ in sizes)) + 2 * MARGIN
    height = sum(c.height + head for c, (_, head) in zip(columns, sizes)) + MARGIN * (len(blocks) + 1)
    page, top = Image.new("RGB", (width, height), PAPER), MARGIN
    for column, text, (_, head) in zip(columns, texts, sizes):
        ImageDraw.Draw(page).multiline_text((MARGIN, top), text, fill=INK, font=font)
        page.paste(column, (MARGIN, top + head))
        top += head + column.height + MARGIN
    return np.asarray(page).copy()


def grid(clips: Tensor | np.ndarray | Sequence, columns: int, side: int = MIN_SIDE, paper=PAPER) -> np.ndarray:
    """Clips of one size side by side, row by row, as one clip (T, H, W, 3).

    Args:
        clips: uint8 (N, C, T, H, W); arrays are (N, T, H, W, C).
        columns: clips in a row.
        side: pixels that a clip has at least; the pixels of smaller ones are repeated.
        paper: color between them.
    """
    frames = [_enlarge(clip, side) for clip in _clips(clips)]
    count, height, width, _ = frames[0].shape
    rows = math.ceil(len(frames) / columns)
    page = np.empty((count, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), np.uint8)
    page[:] = paper
    for i, clip in enumerate(frames):
        y, x = GAP + (i // columns) * (height + GAP), GAP + (i % columns) * (width + GAP)
        page[:, y : y + height, x : x + width] = clip
    return page


def grid_mp4(path: str | Path, clips: Tensor | np.ndarray | Sequence, columns: int, fps: float = 8) -> None:
    """Write an mp4 of clips of one size that play side by side, see `grid`.

    Args:
        path: ends in .mp4.
        clips: uint8 (N, C, T, H, W); arrays are (N, T, H, W, C).
        columns: clips in a row.
        fps: frames per second.
    """
    write_mp4(path, grid(clips, columns), fps)


def _clips(clips: Tensor | np.ndarray | Sequence) -> list[np.ndarray]:
    """Tensor (N, C, T, H, W), array (N, T, H, W, C) or a sequence of clips -> list of (T, H, W, 3), equal sizes."""
    frames = [to_frames(clip) for clip in clips]
    if not frames or any(f.shape != frames[0].shape for f in frames):
        raise ValueError(f"expected one or more clips of equal shape, got {[f.shape for f in frames]}")
    return frames


def _enlarge(frames: np.ndarray, side: int = MIN_SIDE) -> np.ndarray:
    """Frames (T, H, W, 3) with every pixel repeated until they have `side` pixels each way."""
    scale = math.ceil(side / min(frames.shape[1:3]))
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)


def _strip(clip: np.ndarray) -> np.ndarray:
    """Some frames of a clip, from the first to the last, side by side: (H, W, 3)."""
    shown = np.round(np.linspace(0, len(clip) - 1, min(MAX_FRAMES, len(clip)))).astype(int)
    tiles = _enlarge(clip[shown])
    _, height, width, _ = tiles.shape
    strip = np.full((height, len(tiles) * (width + GAP) - GAP, 3), RULE, np.uint8)
    for i, tile in enumerate(tiles):
        strip[:, i * (width + GAP) : i * (width + GAP) + width] = tile
    return strip


def _column(strips: list[np.ndarray]) -> Image.Image:
    """Strips below each other, with a rule between."""
    width, height = max(strip.shape[1] for strip in strips), sum(len(strip) + GAP for strip in strips) - GAP
    column, top = Image.new("RGB", (width, height), RULE), 0
    for strip in strips:
        column.paste(Image.fromarray(strip), (0, top))
        top += len(strip) + GAP
    return column


def _wrap(text: str, font: ImageFont.ImageFont, width: int) -> str:
    """Break a title at spaces so that its lines fit `width` pixels where they can."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _text_size(text: str, font: ImageFont.ImageFont) -> tuple[int, int]:
    """Width of a title and height with the margin below it, in pixels; no height without a title."""
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    return math.ceil(box[2]), math.ceil(box[3]) + MARGIN if text else 0
