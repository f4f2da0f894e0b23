"""What the scripts beside it draw with: two axes as SVG, and frames of clips in rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vidiff.clip import clip_to_thwc

LEFT, BOTTOM = 60, 50  # pixels of a figure that hold the numbers and names of its axes
FRAMES, GAP = (0, 7, 15), 4  # of a clip, in a row; pixels between clips


@dataclass(frozen=True)
class Axes:
    """Two axes; a logarithmic one is one of logarithms.

    Args:
        wide, high: of the figure, pixels.
        right, top: pixels that stay free there.
        x, y: least and largest value.
    """

    wide: int
    high: int
    right: int
    top: int
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """The column of a value."""
        low, high = self.x
        return LEFT + (value - low) / (high - low) * (self.wide - LEFT - self.right)

    def up(self, value: float) -> float:
        """The row of a value."""
        low, high = self.y
        return self.high - BOTTOM - (value - low) / (high - low) * (self.high - BOTTOM - self.top)

    def grid(self, columns: Mapping[float, str], rows: Mapping[float, str]) -> list[str]:
        """A line at each value that is in the figure, and what it is called."""
        parts = []
        for value, text in columns.items():
            if self.x[0] <= value <= self.x[1]:
                x = self.across(value)
                parts.append(f'<path d="M{x:.0f} {self.top}V{self.high - BOTTOM}" stroke="#e5e5e5"/>')
                parts.append(_text(x, self.high - BOTTOM + 18, "middle", text))
        for value, text in rows.items():
            if self.y[0] <= value <= self.y[1]:
                y = self.up(value)
                parts.append(f'<path d="M{LEFT} {y:.0f}H{self.wide - self.right}" stroke="#e5e5e5"/>')
                parts.append(_text(LEFT - 8, y + 4, "end", text))
        return parts

    def page(self, parts: Iterable[str], x: str, y: str) -> str:
        """SVG of what is drawn, and of the names of the axes."""
        style = "font-family:sans-serif;font-size:13px;fill:#333"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.wide} {self.high}" style="{style}">'
        paper = f'<rect width="{self.wide}" height="{self.high}" fill="#fff"/>'
        across = _text((LEFT + self.wide - self.right) / 2, self.high - 10, "middle", x)
        up = f'<text transform="translate(16 {self.high / 2}) rotate(-90)" text-anchor="middle">{y}</text>'
        return "\n".join([head, paper, *parts, across, up, "</svg>", ""])


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def save_rows(path: str | Path, blocks: Iterable[Iterable[Sequence[Tensor]]], larger: int) -> None:
    """A picture of rows of clips, uint8 (C, T, H, W): three frames of each; rows of one block without a gap."""
    rows = []
    for block in blocks:
        for clips in block:
            cells = [np.concatenate([clip_to_thwc(clip)[t] for t in FRAMES], axis=1) for clip in clips]
            gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
            rows.append(np.concatenate([part for cell in cells for part in (cell, gap)], axis=1))
        rows.append(np.full((GAP, rows[-1].shape[1], 3), 255, np.uint8))
    picture = Image.fromarray(np.concatenate(rows))
    picture = picture.resize((picture.width * larger, picture.height * larger), Image.Resampling.NEAREST)
    picture.save(path, optimize=True)
