"""Which clip is at which position of the run: pure functions of the seed and the position, so nothing is stored."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vidiff import keyed
from vidiff.data.index import Entry
from vidiff.errors import UsageError


def clip_span(num_frames: int, frame_stride: int) -> int:
    """Frames of the video that a clip reaches over: (num_frames - 1) * frame_stride + 1."""
    if num_frames < 1 or frame_stride < 1:
        raise UsageError(f"num_frames and frame_stride must be at least 1, got {num_frames} and {frame_stride}")
    return (num_frames - 1) * frame_stride + 1


def clip_indices(length: int, num_frames: int, frame_stride: int = 1, key: int | None = None) -> np.ndarray:
    """Frame numbers of a clip, int64 (num_frames,): start, start + frame_stride, ...

    Args:
        length: decodable frames of the video.
        num_frames: frames of the clip.
        frame_stride: distance between them in the video.
        key: integer that picks the start, uniform over all starts that fit; None takes the centered clip.
    Raises:
        UsageError: the video is shorter than the clip. (Such videos are skipped beforehand: looping, reversing or
            freezing them would teach motion that nobody filmed.)
    """
    span = clip_span(num_frames, frame_stride)
    if length < span:
        raise UsageError(f"a clip of {num_frames} frames at stride {frame_stride} needs {span} frames, got {length}")
    starts = length - span + 1
    start = (starts - 1) // 2 if key is None else key % starts
    return start + frame_stride * np.arange(num_frames, dtype=np.int64)


def video_at(positions: np.ndarray, num_videos: int, *key: int | str) -> np.ndarray:
    """The video at each position of an endless run, int64.

    Round after round, each a fresh permutation of the videos: whatever the epoch length, after n clips any two videos
    have been shown equally often, give or take one.

    Args:
        positions: int64 (N,), positions in the run, from 0.
        num_videos: number of videos.
        key: what the permutations are a function of.
    """
    rounds, places = np.divmod(np.asarray(positions, dtype=np.int64), num_videos)
    videos = np.empty_like(places)
    for number in np.unique(rounds):
        order = torch.randperm(num_videos, generator=keyed.generator(*key, "round", int(number))).numpy()
        videos[rounds == number] = order[places[rounds == number]]
    return videos


def epoch_length(num_videos: int, global_batch: int, clips_per_epoch: int | None = None) -> int:
    """Clips per epoch: what was asked for, or the smallest multiple of the videos >= 1000; in whole global batches."""
    if clips_per_epoch is not None and clips_per_epoch < 1:
        raise UsageError(f"clips_per_epoch must be at least 1, got {clips_per_epoch}")
    clips = clips_per_epoch or -(-1000 // num_videos) * num_videos
    return max(1, clips // global_batch) * global_batch


def process_batch(batch_size: int, global_batch_size: int | None, world: int) -> int:
    """Clips of a batch on each of `world` processes: `batch_size`, or a share of those of all together.

    Raises:
        UsageError: there are no equal shares.
    """
    if global_batch_size is None:
        return batch_size
    if global_batch_size % world:
        raise UsageError(f"data.global_batch_size {global_batch_size} is no multiple of the {world} processes")
    return global_batch_size // world


def limited_epoch(num_videos: int, global_batch: int, clips_per_epoch: int | None, limit: float | None) -> int | None:
    """Clips per epoch under Lightning's `limit_train_batches`: the loader's epoch is then what Lightning calls one, and
    slots stay without gaps.

    Raises:
        UsageError: the limit is a share.
    """
    if isinstance(limit, int) and limit > 0:
        return min(epoch_length(num_videos, global_batch, clips_per_epoch), limit * global_batch)
    if limit not in (0, 1.0):
        raise UsageError(
            f"limit_train_batches={limit}: give a whole number of batches, or set clips_per_epoch of the data"
        )
    return clips_per_epoch


def drop_short(
    parts: dict[str, list[Entry]], entries: Sequence[Entry], num_frames: int, frame_stride: int, root: Path
) -> dict[str, list[Entry]]:
    """The videos of each part that are long enough for a clip; a warning counts the others of all `entries`.

    Raises:
        UsageError: none is left to train on.
    """
    span = clip_span(num_frames, frame_stride)
    long = {name: [e for e in part if e.num_frames >= span] for name, part in parts.items()}
    lengths = sorted(e.num_frames for e in entries)
    need = f"{num_frames} frames at stride {frame_stride} need {span}"
    has = f"the videos have {lengths[0]} to {lengths[-1]} (median {int(statistics.median(lengths))})"
    if not long["train"]:
        raise UsageError(f"{root}: no training video is long enough: {need}, {has}")
    if skipped := sum(length < span for length in lengths):
        warnings.warn(f"{skipped} of {len(lengths)} videos are too short and left out: {need}, {has}", stacklevel=3)
    return long
