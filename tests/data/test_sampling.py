"""Clip indices and epoch orders are pure functions with the coverage they promise."""

from __future__ import annotations

import numpy as np
import pytest

from vidiff import keyed
from vidiff.data.sampling import clip_indices, clip_span, epoch_length, video_at
from vidiff.errors import UsageError


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (1, 5), (4, 1), (4, 3)])
def test_clip_indices_reach_every_start_and_no_other(frames, stride):
    length = clip_span(frames, stride) + 6
    starts = {int(clip_indices(length, frames, stride, keyed.key("t", i))[0]) for i in range(300)}
    assert starts == set(range(7))
    indices = clip_indices(length, frames, stride, 12345)
    assert indices.dtype == np.int64 and indices.shape == (frames,) and (np.diff(indices) == stride).all()
    assert np.array_equal(indices, clip_indices(length, frames, stride, 12345))
    centred = clip_indices(length, frames, stride)
    assert centred[0] == length - 1 - centred[-1]  # as much before as after


def test_exact_fit_and_too_short():
    assert clip_indices(7, 3, 3, 99).tolist() == [0, 3, 6]
    with pytest.raises(UsageError, match="needs 7 frames, got 6"):
        clip_indices(6, 3, 3)
    for frames, stride in ((0, 1), (4, 0)):
        with pytest.raises(UsageError, match="at least 1"):
            clip_span(frames, stride)


@pytest.mark.parametrize(("videos", "clips"), [(7, 20), (7, 7), (10, 3), (1, 5)])
def test_epochs_cover_all_videos_evenly(videos, clips):
    run = video_at(np.arange(9 * clips), videos, 3, "order")
    for n in range(1, len(run)):
        counts = np.bincount(run[:n], minlength=videos)
        assert counts.max() - counts.min() <= 1
    parts = [video_at(np.arange(e * clips, (e + 1) * clips), videos, 3, "order") for e in range(9)]
    assert np.array_equal(run, np.concatenate(parts))  # epoch by epoch is the same run
    if videos > 2:
        assert not np.array_equal(run, video_at(np.arange(9 * clips), videos, 4, "order"))
        assert not np.array_equal(run[:videos], run[videos : 2 * videos])


def test_epoch_length():
    assert epoch_length(240, 16) == 1200 // 16 * 16
    assert epoch_length(7, 4) == 1000 // 4 * 4  # 143 rounds of 7 are 1001 clips
    assert epoch_length(5000, 64) == 5000 // 64 * 64
    assert epoch_length(3, 16, clips_per_epoch=5) == 16  # never no batch
    with pytest.raises(UsageError, match="clips_per_epoch"):
        epoch_length(3, 4, 0)
