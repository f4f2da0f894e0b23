"""Clips of the embedded set are named, and what is only like them is not."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.data.shapes.scene import CLASSES, render_scene, scene_truth
from vidiff.data.shapes.styles import SHAPES
from vidiff.metrics import sprites
from vidiff.metrics.controls import controls
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.recognizable import PARTS, WEIGHTS, load_recognizer, recognizable
from vidiff.metrics.resolve import resolve_metrics

SEED = 0  # neither trained on nor used for the thresholds
CLIPS = 48


@functools.cache
def scenes() -> Tensor:
    """uint8 (N, 3, 32, 32, 32): all frames, rendered at twice the size as the files are."""
    videos = np.stack([render_scene(SEED, i) for i in range(1000, 1000 + CLIPS)])  # (N, T, 64, 64, 3)
    small = torch.from_numpy(videos).flatten(0, 1).permute(0, 3, 1, 2).float()
    small = F.interpolate(small, (32, 32), mode="bilinear", antialias=True).round().to(torch.uint8)
    return small.unflatten(0, (CLIPS, -1)).transpose(1, 2).contiguous()


def real() -> Tensor:
    return scenes()[:, :, 6:22].contiguous()


def blurred(clips: Tensor, factor: int) -> Tensor:
    """Brought to a smaller size and back."""
    small = F.interpolate(clips.float(), (clips.shape[2], 32 // factor, 32 // factor), mode="area")
    return F.interpolate(small, clips.shape[2:], mode="trilinear").round().to(torch.uint8)


def value(clips: Tensor, frame_stride: int = 1) -> float:
    return recognizable(clips, frame_stride)["recognizable"]


def test_real_clips_are_named_whatever_their_frames_and_size():
    values = value(real()), value(scenes()[:, :, 3:19:2].contiguous(), 2)
    assert 0.9 <= sum(values) / 2 <= 1.0 and min(values) >= 0.85, values
    large = F.interpolate(real().float(), (16, 48, 48), mode="trilinear").round().to(torch.uint8)
    assert value(large) >= 0.8
    as_floats = real()[:8].float() / 127.5 - 1
    assert recognizable(as_floats) == recognizable(real()[:8])


def test_the_names_and_the_places_are_right():
    seen = load_recognizer().recognize(real())
    truth = [scene_truth(SEED, 1000 + i, 22, 32) for i in range(CLIPS)]
    motions = [CLASSES[i % len(CLASSES)] for i in range(CLIPS)]
    ok = seen.all.tolist()
    assert all(sprites.MOTIONS[m] == motions[i] for i, m in enumerate(seen.motion.tolist()) if ok[i])
    for i in [i for i in range(CLIPS) if ok[i]]:
        known = np.asarray(truth[i]["positions"][6:], np.float32)  # (T, S, 2)
        gap = np.linalg.norm(known - 32 * seen.where[i, :, None, :2].numpy(), axis=-1).mean(0)  # (S,)
        assert gap.min() < 1.0
        assert truth[i]["shapes"][gap.argmin()] == sprites.SHAPES[seen.shape[i]]
    assert sprites.SHAPES == SHAPES and sprites.MOTIONS == CLASSES


def test_what_is_not_real_is_not_named():
    made = controls(real(), seed=0)
    assert made.pop("one_clip_repeated") is not None  # a real clip is a real clip
    weight = real().float() * 0.5 + real().roll(1, 0).float() * 0.5
    made |= {"blended": weight.round().to(torch.uint8), "blurred": blurred(real(), 4)}
    made["other colors"] = real()[:, [1, 2, 0]]
    made["two clips one after the other"] = torch.cat([real()[:, :, :8], real().roll(1, 0)[:, :, 8:]], 2)
    values = {name: value(clips) for name, clips in made.items()}
    assert max(values.values()) <= 0.05, values


def test_the_parts_say_what_fails():
    made = controls(real(), seed=0)
    frozen, shuffled = recognizable(made["frames_frozen"]), recognizable(made["frames_shuffled"])
    assert min(frozen["shape"], frozen["steady"], frozen["path"]) >= 0.8 and frozen["motion"] <= 0.05
    assert shuffled["shape"] >= 0.5 and shuffled["path"] <= 0.5 and shuffled["motion"] <= 0.05
    assert recognizable(blurred(real(), 4))["shape"] <= 0.05
    half = real().clone()
    half[:, :, 8:] = blurred(half, 4)[:, :, 8:]
    assert recognizable(half)["shape"] <= 0.05 and 0.35 <= recognizable(half)["frames"] <= 0.6
    assert frozen["mean"] == pytest.approx(sum(frozen[p] for p in PARTS) / len(PARTS))


def test_the_worse_the_picture_the_fewer_are_named():
    some = real()[:24]
    noise = torch.randn(some.shape, generator=torch.Generator().manual_seed(0)) * 255
    rows = {
        "blur": [some, *(blurred(some, factor) for factor in (2, 3, 4))],
        "noise": [(some + s * noise).clamp(0, 255).round().to(torch.uint8) for s in (0.0, 0.05, 0.15, 0.4)],
        "flicker": [(some + s * noise[..., :1, :1]).clamp(0, 255).round().to(torch.uint8) for s in (0, 0.1, 0.3)],
    }
    for name, clips in rows.items():
        values = [value(c) for c in clips]
        assert all(b <= a + 0.05 for a, b in zip(values, values[1:])) and values[-1] <= 0.1, (name, values)


def test_a_path_that_changes_its_shape_is_not_steady():
    """Viterbi over made peaks: one shape in the first half, another in the second, at one place."""
    logits, where = torch.full((1, 8, 5, 3), -9.0), torch.full((1, 8, 5, 3, 3), 10.0)
    logits[0, :, 1, 0] = 5.0
    steady = sprites.track(sprites.Candidates(logits, where))
    assert steady.shape.item() == 1 and steady.margin.amin() > 10 and steady.named.amin() == 5
    changed = logits.clone()
    changed[0, 5:, 1, 0], changed[0, 5:, 3, 0] = -9.0, 5.0
    found = sprites.track(sprites.Candidates(changed, where))
    assert found.shape.item() == 1 and found.named.amin() == 5 and found.margin.amin() < -10


def test_a_track_takes_the_near_peak():
    """Of two peaks of one shape in each frame, in changing order, that which moves on, not that which jumps."""
    logits, where = torch.full((1, 6, 5, 3), -9.0), torch.full((1, 6, 5, 3, 3), 3.0)
    for t in range(6):
        near, far = (0, 1) if t % 2 else (1, 0)
        logits[0, t, 2, near], logits[0, t, 2, far] = 4.0, 3.9
        where[0, t, 2, near, :2], where[0, t, 2, far, :2] = (
            torch.tensor([5.0 + t, 8.0]),
            torch.tensor([25.0, 25.0 if t % 2 else 5.0]),
        )
    path = sprites.track(sprites.Candidates(logits, where)).where[0, :, 0]
    assert path.tolist() == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]


def test_it_is_a_metric_with_a_protocol_and_parts():
    (metric,) = resolve_metrics("recognizable", frame_stride=2)
    clips = scenes()[:, :, ::2].contiguous()[:16]
    evaluator = Evaluator([metric], lambda: [(range(16), clips)], fields={"frame_stride": 2})
    result = evaluator.evaluate([(range(16), clips.flip(0))])["recognizable"]
    assert result["value"] == pytest.approx(value(clips, 2)) and set(result["parts"]) == {*PARTS, "mean", "frames"}
    assert result["protocol"]["extractor"] == "recognizer" and result["protocol"]["frame_stride"] == 2
    assert len(result["protocol"]["sha256"]) == 64 and WEIGHTS.stat().st_size < 600_000
