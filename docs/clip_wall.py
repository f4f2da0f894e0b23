"""Test clips of DATA above those of a model: `python docs/clip_wall.py CHECKPOINT DATA OUT.gif`."""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image

from vidiff.clip import clip_to_thwc
from vidiff.data.datamodule import ClipDataModule
from vidiff.inference.checkpoint import load_model

COLUMNS, ROWS, LARGER, COLORS, GAP, SEED, MILLISECONDS = 6, 2, 2, 160, 2, 0, 125


def row(clips: torch.Tensor) -> np.ndarray:
    """Clips uint8 (N, C, T, H, W) beside each other, (T, H, W', 3)."""
    shown = np.stack([clip_to_thwc(clip) for clip in clips])  # (N, T, H, W, 3)
    shown = np.pad(shown, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(shown), axis=2)


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    data = ClipDataModule(words[1], num_workers=0, augment="none")
    data.prepare_data()
    data.setup("test")
    real = torch.cat([clips for _, clips, *_ in data.eval_clips("test", COLUMNS, SEED, COLUMNS)])
    made = load_model(words[0], "cpu").sample(COLUMNS * ROWS, SEED)
    space = np.full((real.shape[2], 3 * GAP, COLUMNS * (real.shape[4] + GAP), 3), 255, np.uint8)
    wall = np.concatenate([row(real), space, *(row(part) for part in made.split(COLUMNS))], axis=1)
    frames = [Image.fromarray(frame) for frame in wall]
    size = (frames[0].width * LARGER, frames[0].height * LARGER)
    colors = Image.fromarray(np.concatenate(list(wall[::4]))).quantize(COLORS)
    large = [frame.resize(size, Image.Resampling.NEAREST) for frame in frames]
    first, *rest = (frame.quantize(palette=colors, dither=Image.Dither.NONE) for frame in large)
    first.save(words[2], save_all=True, append_images=rest, duration=MILLISECONDS, loop=0)


if __name__ == "__main__":
    main(sys.argv[1:])
