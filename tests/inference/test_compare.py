"""Comparing folders in Python: values, floors and protocols are returned, and what is left out is named."""

from __future__ import annotations

import json

import pytest
import torch

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.inference.compare import compare_folders
from vidiff.inference.folders import FolderPair, most_clips
from vidiff.video.write import write_mp4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    for kind, count, frames in (("real", 6, 6), ("fake", 4, 5)):
        for i in range(count):
            small = keyed.normal([i], (3, frames, 4, 4), kind)[0]
            clip = (small * 60 + 128).clamp(0, 255).to(torch.uint8)
            write_mp4(root / kind / f"{i}.mp4", clip.repeat_interleave(8, 2).repeat_interleave(8, 3))
    write_mp4(root / "fake" / "short.mp4", torch.zeros(3, 2, 32, 32, dtype=torch.uint8))
    return root


def test_what_is_returned(folders, capsys):
    said = []
    names = ["fvd_random", "motion"]
    result = compare_folders(
        folders / "real", folders / "fake", metrics=names, num_frames=4, device="cpu", say=said.append
    )
    assert list(result.metrics) == names and result.metrics["fvd_random"]["floor"] > 0
    p = result.metrics["motion"]["protocol"]
    assert (p["n_real"], p["n_fake"], p["num_frames"], p["resolution"]) == (4, 4, 4, "32x32")
    assert result.left_out == {"real": [], "fake": [{"path": "short.mp4", "reason": "2 frames, a clip needs 4"}]}
    assert len(said) == 1 and said[0].startswith("fake: 1 of 5 files")
    assert json.loads(json.dumps(result.metrics)) == result.metrics
    assert capsys.readouterr().out == ""


def test_frame_by_frame(folders):
    with pytest.warns(UserWarning, match="1 of 5 files"):
        how = {"metrics": "fvd_random", "num_frames": 3, "device": "cpu", "per_frame": True}
        result = compare_folders(folders / "real", folders / "fake", **how)
    (curve,) = result.metrics.values()
    assert len(curve["values"]) == 3 and curve["clips"] == 4
    with pytest.raises(UsageError, match="fd_lite0 and fvd_random, not motion"):
        compare_folders(folders / "real", folders / "fake", metrics="motion", per_frame=True)


def test_a_batch_is_what_memory_holds(folders):
    assert most_clips(16, 64) > 32 and most_clips(16, 2000) == 1
    with pytest.raises(UsageError, match="at most 2282"):
        most_clips(16, 5000)
    small = FolderPair(folders / "real", folders / "real", 4, batch_size=3)
    large = FolderPair(folders / "real", folders / "real", 4, resolution=4000, batch_size=3)
    assert (small.batch_size, large.batch_size) == (3, 1)
    with pytest.raises(UsageError, match="frame_stride must be at least 1"):
        FolderPair(folders / "real", folders / "fake", 4, frame_stride=0)
