"""Does a metric see what is wrong with clips? Graded corruptions of one's own videos."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.splits import Split
from vidiff.errors import UsageError, at_least
from vidiff.inference.device import pick_device
from vidiff.inference.folders import Backend
from vidiff.metrics.corruptions import CORRUPTIONS
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.resolve import resolve_metrics
from vidiff.progress import track

DISTANCES = ("blocks", "frechet", "kernel", "sliced")  # scores that are 0 where nothing is wrong
STRICT = 2  # from this dose on (the first is 0) a larger one must be farther away
SLACK = 0.05  # of the value, and of the floor: chance between smaller ones
UNDIRECTED = 2.0  # floors: what is no farther when played backward has no direction that the metric could see


def check_metrics(
    root: str | Path | None,
    *,
    metrics: str | Sequence[str] = "clip_distance",
    num_clips: int = 256,
    num_frames: int = 16,
    resolution: int = 32,
    frame_stride: int = 1,
    seed: int = 0,
    batch_size: int = 32,
    backend: Backend = "pyav",
    device: str | torch.device | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> dict[str, Any]:
    """Measure real clips that were made worse in known ways and doses, see `vidiff.metrics.corruptions`.

    The reference are clips of one half of the videos, the corrupted ones another draw of clips of the same half, so
    that without corruption they are at the floor. Clips of the other half are real, but held out.

    Args:
        root: folder of videos; None: the embedded set.
        metrics: names of distances.
        num_clips: clips on each side.
        num_frames, resolution, frame_stride: of the clips.
        seed: of clips and corruptions.
        batch_size: clips at a time. backend: what reads videos. device: where features are computed.
        say: called with a line about what stands in the way of a judgment.

    Returns:
        `clips`, `videos` ([reference, held out]), and `metrics`: name -> `floor`, `unit` to print values in (the floor;
        1 of a kernel distance, whose floor is about 0), `held_out` (None where there is but one video), `corruptions`
        (name -> five values, rising doses), `failed` (names of corruptions, see `failures`).

    Raises:
        UsageError: a metric that is no distance, or no clips.
    """
    at_least(2, num_clips=num_clips, num_frames=num_frames)
    device = pick_device(device)
    resolved = resolve_metrics(metrics, num_clips=num_clips, num_frames=num_frames, frame_stride=frame_stride)
    if wrong := [m.name for m in resolved if m.spec.score not in DISTANCES]:
        raise UsageError(f"{wrong[0]} is no distance, so that worse clips need not be farther away")
    data = ClipDataModule(
        root=root, num_frames=num_frames, resolution=resolution, frame_stride=frame_stride, batch_size=batch_size,
        num_workers=0, split=Split(val=0.5, test=0.0, seed=seed), backend=backend, augment="none",
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    halves = [data.videos[split] for split in ("train", "val")]
    apart = not {e.path for e in halves[0]} & {e.path for e in halves[1]}
    if min(map(len, halves)) < 8:
        say(f"{len(halves[0])} videos against {len(halves[1])}: too few to judge by the half that is held out")
    again = _clips(data, "train", num_clips, seed + 1000, batch_size)

    def reference():
        return data.eval_clips("train", num_clips, seed, batch_size)

    evaluator = Evaluator(resolved, reference, held_out=lambda: _batches(again, batch_size), device=device)
    measured = {"floor": evaluator.evaluate(_batches(again, batch_size))}
    if apart:
        measured["held_out"] = evaluator.evaluate(data.eval_clips("val", num_clips, seed, batch_size))
    jobs = [(c, dose) for c in CORRUPTIONS for dose in c.doses]
    for corruption, dose in track(jobs, "corrupting"):
        batches = _batches(corruption(again, dose, seed), batch_size)
        measured[corruption.name, dose] = evaluator.evaluate(batches, num_clips)
    out = {}
    for m in resolved:
        values = {key: result[m.name]["value"] for key, result in measured.items()}
        doses = {c.name: [values[c.name, dose] for dose in c.doses] for c in CORRUPTIONS}
        out[m.name] = {
            "floor": values["floor"],
            "unit": 1.0 if m.spec.score == "kernel" else values["floor"],
            "held_out": values.get("held_out"),
            "corruptions": doses,
            "failed": failures(values["floor"], doses, values.get("held_out")),
        }
    return {"clips": num_clips, "videos": [len(half) for half in halves], "metrics": out}


def failures(floor: float, doses: dict[str, list[float]], held_out: float | None = None) -> list[str]:
    """The corruptions under which a distance does not rise with the dose.

    Clips that are played backward are no failure where they stay below 2 floors or nearer than held-out real clips:
    most motion has no direction.
    """
    failed, unseen = [], max(UNDIRECTED * abs(floor), held_out or 0.0)
    for name, values in doses.items():
        chain = [floor, *values]
        rising = all(b >= a - SLACK * (abs(a) + abs(floor)) for a, b in zip(chain, chain[1:]))
        strict = all(b > a for a, b in zip(chain[STRICT:], chain[STRICT + 1 :]))
        if not (rising and strict) and not (name == "reversed" and max(values) < unseen):
            failed.append(name)
    return failed


def _clips(data: ClipDataModule, split: str, num_clips: int, seed: int, batch_size: int) -> Tensor:
    return torch.cat([clips for _, clips, *_ in data.eval_clips(split, num_clips, seed, batch_size)])


def _batches(clips: Tensor, batch_size: int):
    ids = torch.arange(len(clips))
    yield from zip(ids.split(batch_size), clips.split(batch_size))
