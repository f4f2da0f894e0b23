"""The embedded set all around, and clips of it."""

from __future__ import annotations

import numpy as np
import torch

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.shapes.render import render_dataset
from vidiff.data.shapes.scene import render_panorama, truth_of
from vidiff.sphere import seam_ratio
from vidiff.video.spherical import Spherical, read_spherical


def test_panoramas_are_rendered_and_read_twice_as_wide_as_high(tmp_path):
    record = render_dataset(tmp_path / "set", videos=8, frames=8, resolution=32, projection="equirectangular")
    assert record["projection"] == "equirectangular" and truth_of(tmp_path / "set", 32) is None
    files = sorted((tmp_path / "set").rglob("*.mp4"))
    assert len(files) == 8 and all(read_spherical(path) == Spherical("equirectangular") for path in files)
    root = tmp_path / "set"
    for cache in ("none", "ram"):
        more = dict(num_frames=4, resolution=16, projection="equirectangular", num_workers=0, cache=cache)
        data = ClipDataModule(root, **more)
        batch = next(iter(data.eval_batches("train", 4)))
        assert batch["clip"].shape == (4, 3, 4, 16, 32)
    assert data.describe()["fit"] == "equirectangular"
    flat = ClipDataModule(root, num_frames=4, resolution=16, num_workers=0)
    assert next(iter(flat.eval_batches("train", 4)))["clip"].shape == (4, 3, 4, 16, 16)


def test_sprites_cross_the_seam_and_there_is_none():
    clips = np.stack([render_panorama(0, scene, 16, 32) for scene in range(8)])  # (N, T, H, W, 3)
    x = torch.from_numpy(clips).permute(4, 0, 1, 2, 3).flatten(1, 2)[None]
    assert 0.6 < float(seam_ratio(x)[0]) < 1.6
    moves = np.abs(np.diff(clips.astype(int), axis=1)).mean((2, 4))  # (N, T - 1, W)
    at_seam = moves[:, :, [0, -1]].max(1)
    assert ((at_seam > 4).all(1)).sum() >= 2  # of both edges at once: what moves there is on both sides
