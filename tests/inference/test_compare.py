"""Comparing folders in Python: values, floors and protocols are returned, and what is left out is named."""

from __future__ import annotations

import json

import pytest
import torch

from vidiff import keyed
from vidiff.errors import RunError, UsageError
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


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """40 real videos, and three times 280 generated ones: of the same latents brighter, and fresh."""
    root = tmp_path_factory.mktemp("many")

    def write(kind, count, frames, seed, light=0.0):
        for i in range(count):
            small = keyed.normal([i], (3, frames, 4, 4), seed)[0]
            clip = (small * 40 + 128 + light).clamp(0, 255).to(torch.uint8)
            write_mp4(root / kind / f"{i:03}.mp4", clip.repeat_interleave(4, 2).repeat_interleave(4, 3))

    write("real", 40, 12, "real")
    write("same", 280, 4, "fake")
    write("lighter", 280, 4, "fake", 12.0)
    return root


def test_every_kind_of_metric_end_to_end(many, tmp_path):
    """Extrapolated, a classifier's, of a file of one's own, with standard errors by source video."""
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d((2, 2, 2)), torch.nn.Flatten())
    torch.jit.trace(net, torch.zeros(2, 3, 4, 16, 16)).save(str(tmp_path / "net.pt"))
    names = ["fvd_random_inf", "detectability", f"fd@{tmp_path / 'net.pt'}", "clip_distance"]
    found = compare_folders(many / "real", many / "same", metrics=names, num_frames=4, blocks=8, say=lambda line: None)
    extrapolated, told, own, lead = found.metrics.values()
    assert extrapolated["residual"] >= 0 and extrapolated["se"] is None
    assert 0.5 <= told["value"] <= 1 and told["interval"][0] <= told["value"] <= told["interval"][1]
    assert own["protocol"]["extractor"].startswith("file:") or "net" in own["protocol"]["metric"]
    assert own["se"] > 0 and lead["se"] > 0
    by_clip = compare_folders(many / "real", many / "same", metrics=names[3], num_frames=4, blocks=0, say=print)
    assert "se" not in by_clip.metrics["clip_distance"]
    with pytest.raises(RunError, match="2.5|280"):
        compare_folders(many / "real", many / "same", metrics=names[0], num_frames=4, num_clips=100, say=print)


def test_whether_two_folders_differ_is_tested_in_pairs(many, capsys):
    how = dict(metrics=["kvd_random", "motion"], num_frames=4, num_clips=40, blocks=0, say=lambda line: None)
    found = compare_folders(many / "real", many / "same", versus=many / "lighter", **how).metrics
    other = compare_folders(many / "real", many / "lighter", **how).metrics
    versus = found["kvd_random"]["versus"]
    assert versus["value"] == pytest.approx(other["kvd_random"]["value"], rel=1e-9)
    assert versus["difference"] < 0 and versus["p"] < 0.01 and "versus" not in found["motion"]
    itself = compare_folders(many / "real", many / "same", versus=many / "same", **how).metrics
    assert itself["kvd_random"]["versus"]["p"] == 1
    with pytest.raises(UsageError, match="either per_frame or versus"):
        compare_folders(many / "real", many / "same", versus=many / "same", num_frames=4, per_frame=True)
