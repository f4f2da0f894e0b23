"""Contact sheets and grids: every clip is there, whole, and no title is cut."""

from __future__ import annotations

import numpy as np
import torch
from films import psnr, ramp, read

from vidiff.video.sheet import PAPER, grid_mp4, sheet


def contains(page: np.ndarray, tile: np.ndarray) -> bool:
    """Is `tile` somewhere in `page`, exactly?"""
    h, w, _ = tile.shape
    corners = np.argwhere((page[: -h + 1 or None, : -w + 1 or None] == tile[0, 0]).all(-1))
    return any(np.array_equal(page[y : y + h, x : x + w], tile) for y, x in corners)


def test_sheet_shows_first_and_last_frames_whole():
    small, wide = ramp(5, 16, 16), ramp(20, 32, 80)
    page = sheet(
        [
            ("two small clips", torch.from_numpy(np.stack([small, small[::-1]])).permute(0, 4, 1, 2, 3)),
            ("w", wide[None]),
        ]
    )
    assert page.dtype == np.uint8 and page.ndim == 3
    for frame in small:  # 5 frames fit, all are shown, at 64 pixels
        assert contains(page, frame.repeat(4, 0).repeat(4, 1))
    for index in (0, 19):
        assert contains(page, wide[index].repeat(2, 0).repeat(2, 1))


def test_sheet_never_cuts_a_title():
    clip = ramp(1, 64, 64)[None]
    narrow = sheet([("a title of several words wraps", clip)])
    single = sheet([("title", clip)])
    assert narrow.shape[0] > single.shape[0]
    word = sheet([("unbreakable" * 6, clip)])
    assert word.shape[1] > 400 and (word[:, -8:] == PAPER).all()


def test_grid_mp4_tiles_every_clip(tmp_path):
    clips = np.stack([ramp(4, 32, 32)] * 2 + [255 - ramp(4, 32, 32)])
    grid_mp4(tmp_path / "g.mp4", torch.from_numpy(clips).permute(0, 4, 1, 2, 3), columns=2)
    back, _ = read(tmp_path / "g.mp4")
    assert back.shape == (4, 134, 134, 3)  # 2 x 2 tiles of 64 pixels, 2 pixels between and around
    assert psnr(back[:, 68:132, 2:66], clips[2].repeat(2, 1).repeat(2, 2)) > 30
