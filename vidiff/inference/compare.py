"""A folder of generated videos against a folder of real ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidiff.errors import UsageError
from vidiff.inference.device import pick_device
from vidiff.inference.folders import Backend, FolderPair, LeftOut
from vidiff.metrics.evaluator import Evaluator
from vidiff.metrics.per_frame import frame_distances
from vidiff.metrics.protocol import expand, parse_name
from vidiff.metrics.resolve import Metric, auto_note, resolve_metrics
from vidiff.metrics.uncertainty import BLOCKS
from vidiff.pretrained.lite0 import lite0_available
from vidiff.pretrained.weights import MANIFEST, require


@dataclass(frozen=True)
class Comparison:
    """What two folders were found to be to each other.

    Args:
        metrics: name -> value, floor, protocol and more, see `vidiff.metrics.Evaluator.evaluate`; frame by frame
            `values` (one for each index), `floor` and the number of `clips`.
        left_out: `path` and `reason` of the files of the `real` and the `fake` folder that were not measured.
    """

    metrics: dict[str, dict[str, Any]]
    left_out: LeftOut


def compare_folders(
    real: str | Path,
    fake: str | Path,
    *,
    metrics: str | Sequence[str] = "auto",
    num_clips: int | None = None,
    num_frames: int = 16,
    resolution: int | None = None,
    frame_stride: int = 1,
    seed: int = 0,
    per_frame: bool = False,
    blocks: int = BLOCKS,
    versus: str | Path | None = None,
    weights: str | Path | None = None,
    batch_size: int = 32,
    backend: Backend = "pyav",
    device: str | torch.device | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> Comparison:
    """Measure generated videos against real ones; one clip is taken from each generated video.

    Args:
        real: folder of real videos.
        fake: folder of generated videos.
        metrics: names, or `auto`, see `vidiff.metrics.resolve_metrics`; with `per_frame` `fd_lite0`, `fvd_random`.
        num_clips: clips on each side; None: the number of generated videos.
        num_frames: frames of a clip.
        resolution: height and width in pixels; None: the generated videos' own.
        frame_stride: of the real videos; of generated ones every frame is taken.
        seed: of the choice of real clips.
        per_frame: instead, at each frame index of long videos, the Fréchet distance to single real frames.
        blocks: of the jackknife that gives values their standard error `se` (`vidiff.metrics.uncertainty`); 0: none. It
            takes twice as many further evaluations of each distance.
        versus: a second folder of generated videos, of the same latents in the same order of names: is the difference
            of the two more than chance? Each distance gets `versus`: `value` of the second folder, `difference` of the
            first less the second, and `p` of a permutation test.
        weights: file or folder with weights of official metrics.
        batch_size: clips at a time; fewer where they are large. It changes no value.
        backend: what reads videos.
        device: where features are computed; None: an accelerator where there is one, else the CPU.
        say: called with a line about what is left out, and what `auto` came to.

    Raises:
        UsageError: the request is wrong. RunError: a video cannot be read after all.
    """
    if per_frame:
        resolved = _of_frames(metrics)
    else:
        _require_weights(metrics, weights)  # before a video is read
    device = pick_device(device)
    sizes = {"num_clips": num_clips, "resolution": resolution, "frame_stride": 1 if per_frame else frame_stride}
    how = {"seed": seed, "batch_size": batch_size, "whole_clips": not per_frame, "backend": backend, "say": say}
    both = FolderPair(real, fake, num_frames, **sizes, **how)
    if per_frame and versus:
        raise UsageError("two folders are compared by whole clips: leave out either per_frame or versus")
    other = FolderPair(real, versus, num_frames, **sizes | _as(both), **how) if versus else None
    if per_frame:
        extractors = {m.name: m.extractor.to(device) for m in resolved}
        results = frame_distances(extractors, both.stills(), both.fake_clips(), device)
        return Comparison({name: {**r, "clips": both.num_clips} for name, r in results.items()}, both.left_out)
    more = {"frame_stride": frame_stride, "weights": weights}
    resolved = resolve_metrics(metrics, num_clips=both.num_clips, num_frames=num_frames, **more)
    if "auto" in expand(metrics):
        say(auto_note(resolved))
    results = {}
    for prefix in (False, True):
        if group := [m for m in resolved if (m.spec.subset == "prefix") == prefix]:
            clips = partial(both.real_clips, prefix)
            # The floor: as many further videos, where there are that many; else the real clips are halved.
            held_out = partial(clips, both.num_clips) if len(both.reals) >= 2 * both.num_clips else None
            fields = both.protocol_fields(prefix)
            sure = dict(blocks=blocks, real_videos=both.real_videos(prefix))
            evaluator = Evaluator(group, clips, held_out=held_out, fields=fields, device=device, **sure)
            results |= evaluator.evaluate(both.fake_clips(), both.num_clips)
            if other:
                _compare(results, evaluator, both, other)
    return Comparison({m.name: results[m.name] for m in resolved}, both.left_out)


def _as(first: FolderPair) -> dict[str, int]:
    """What the second folder has to have as the first one has it."""
    return {"num_clips": first.num_clips, "resolution": first.resolution}


def _compare(results: dict[str, dict], evaluator: Evaluator, first: FolderPair, second: FolderPair) -> None:
    """Give the distances among `results` their `versus`."""
    for name, found in evaluator.differences(first.fake_clips(), second.fake_clips()).items():
        results[name]["versus"] = {"value": results[name]["value"] - found.difference, **found._asdict()}


def _require_weights(metrics: str | Sequence[str], weights: str | Path | None) -> None:
    for name in expand(metrics):
        if name != "auto" and (spec := parse_name(name)).official:
            require(MANIFEST["i3d" if spec.extractor == "i3d" else "inception"], name, weights)


def _of_frames(metrics: str | Sequence[str]) -> list[Metric]:
    """The metrics that there are of single frames."""
    resolved = resolve_metrics(("fd_lite0" if lite0_available() else "fvd_random") if metrics == "auto" else metrics)
    if wrong := [m.name for m in resolved if m.spec.score != "frechet" or m.official]:
        raise UsageError(f"frame by frame there are fd_lite0 and fvd_random, not {wrong[0]}")
    return resolved
