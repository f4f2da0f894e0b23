"""`clip_distance` rises with every corruption of real clips, and sees a generator that stands still or shuffles."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff import keyed
from vidiff.data.shapes.scene import CLASSES, render_scene
from vidiff.metrics.clip_statistics import ClipStatistics
from vidiff.metrics.controls import frames_frozen, frames_shuffled
from vidiff.metrics.corruptions import CORRUPTIONS
from vidiff.metrics.frechet import block_distances, frechet_from_features

CLIPS = 48  # a side: few, and the same number everywhere


def rendered(numbers: range) -> Tensor:
    """Scenes of the embedded set, uint8 (N, 3, 32, 32, 32): all frames, at the size of the clips of the tests."""
    videos = torch.from_numpy(np.stack([render_scene(0, i) for i in numbers]))  # (N, T, 64, 64, 3)
    frames = videos.flatten(0, 1).permute(0, 3, 1, 2).float()
    small = F.avg_pool2d(frames, 2).round().to(torch.uint8)
    return small.unflatten(0, (len(numbers), -1)).transpose(1, 2).contiguous()


def draw(videos: Tensor, which: str) -> Tensor:
    """Clips of 16 frames, one a video, each from its own place."""
    starts = keyed.integers(range(len(videos)), 17, which).tolist()
    return torch.stack([video[:, s : s + 16] for video, s in zip(videos, starts)])


@functools.cache
def sets() -> dict[str, Tensor]:
    """Clips of half of the scenes, another draw of clips of the same scenes, and clips of other scenes."""
    videos, others = rendered(range(CLIPS)), rendered(range(1000, 1000 + CLIPS))
    return {"real": draw(videos, "real"), "again": draw(videos, "again"), "held_out": draw(others, "held out")}


@functools.cache
def falling() -> dict[str, Tensor]:
    """Of balls that bounce, the one motion of the embedded set with an arrow of time."""
    bounce = len(CLASSES) * np.arange(CLIPS) + CLASSES.index("bounce")
    videos = torch.cat([rendered(range(i, i + 1)) for i in bounce.tolist()])
    return {"real": draw(videos, "real"), "again": draw(videos, "again")}


def distance(real: Tensor, fake: Tensor) -> float:
    net = ClipStatistics()
    return sum(block_distances(net(real), net(fake), net.blocks).values())


def test_half_of_the_real_scenes_is_ahead_of_every_corruption_at_its_strongest():
    clips = sets()
    floor, held_out = distance(clips["real"], clips["again"]), distance(clips["real"], clips["held_out"])
    for corruption in CORRUPTIONS:
        if corruption.name == "reversed":
            continue
        values = [floor, *(distance(clips["real"], corruption(clips["again"], d)) for d in corruption.doses[::2])]
        assert all(a < b for a, b in zip(values, values[1:])), (corruption.name, values)
        assert values[-1] > 10 * floor and values[-1] > 2 * held_out, (corruption.name, values, held_out)


def test_time_that_runs_backward_is_seen_where_motion_has_a_direction():
    clips = falling()
    reverse = next(c for c in CORRUPTIONS if c.name == "reversed")
    values = [distance(clips["real"], clips["again"])]
    values += [distance(clips["real"], reverse(clips["again"], dose)) for dose in reverse.doses]
    assert all(a < b for a, b in zip(values[1:], values[2:])), values
    assert values[-1] > 2 * values[0], values


def test_a_generator_of_stills_and_one_that_shuffles_lose_to_one_that_moves():
    """Better pictures do not help: theirs are real, those of the one that moves are blurred and of other scenes."""
    clips = sets()
    blur = next(c for c in CORRUPTIONS if c.name == "blur")
    moving = distance(clips["real"], blur(clips["held_out"], 0.75))
    assert moving < distance(clips["real"], frames_shuffled(clips["real"], 0)) / 2
    assert moving < distance(clips["real"], frames_frozen(clips["real"], 0)) / 10


def test_distances_of_blocks_against_a_second_formula():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(3, 2, (60, 5)), rng.normal(2, 3, (50, 5))
    scaled = [(x - real.mean(0)) / real.std(0, ddof=1) for x in (real, fake)]
    parts = block_distances(torch.from_numpy(real), torch.from_numpy(fake), {"a": slice(0, 2), "b": slice(2, 5)})
    assert parts["a"] == pytest.approx(frechet_from_features(scaled[0][:, :2], scaled[1][:, :2]) / 2, rel=1e-9)
    assert parts["b"] == pytest.approx(frechet_from_features(scaled[0][:, 2:], scaled[1][:, 2:]) / 3, rel=1e-9)
    moved = torch.from_numpy(real * np.array([1e3, 1, 1, 1e-1, 1])), torch.from_numpy(fake * [1e3, 1, 1, 1e-1, 1])
    again = block_distances(*moved, {"a": slice(0, 2), "b": slice(2, 5)})
    assert again == pytest.approx(parts, rel=1e-9)  # units do not matter
    assert sum(block_distances(moved[0], moved[0], {"all": slice(0, 5)}).values()) < 1e-9


def test_statistics_are_a_function_of_the_clip_alone_and_direction_of_time_is_odd():
    clips, net = sets()["real"][:4], ClipStatistics()
    whole = net(clips)
    torch.testing.assert_close(torch.cat([net(clips[:1]), net(clips[1:])]), whole, rtol=1e-4, atol=1e-4)
    back, blocks = net(clips.flip(2)), net.blocks
    torch.testing.assert_close(back[:, blocks["pictures"]], whole[:, blocks["pictures"]], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(back[:, blocks["path"]], whole[:, blocks["path"]], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(back[:, blocks["direction"]], -whole[:, blocks["direction"]], rtol=1e-2, atol=1e-4)
    assert sum(at.stop - at.start for at in blocks.values()) == net.dim and net.widest < net.dim


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_short_and_still_clips_have_finite_statistics(frames):
    clips = sets()["real"][:, :, :frames]
    assert torch.isfinite(ClipStatistics()(clips)).all()
    assert distance(clips, clips) < 1e-6
    still = torch.full((4, 3, frames, 16, 20), 7, dtype=torch.uint8)
    assert torch.isfinite(ClipStatistics()(still)).all()
