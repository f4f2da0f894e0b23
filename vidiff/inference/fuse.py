"""Checkpoints of one architecture averaged into a new one.

Raw weights and moving averages alike (over the length of a run as in Izmailov et al. 2018, 1803.05407, or over runs).
The result is for sampling and measuring: it holds no optimizer, so that training cannot be continued from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vidiff.ema import standing_statistics
from vidiff.errors import UsageError, doing
from vidiff.files import check_writable, replacing
from vidiff.inference.checkpoint import build_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.models.module import VideoModule
from vidiff.models.record import AVERAGE, checksum, unlike
from vidiff.models.translation import Translator


def fuse_checkpoints(
    paths: Sequence[str | Path],
    output: str | Path,
    weights: Sequence[float] | None = None,
    trust: Sequence[str] = (),
) -> Path:
    """Write the weighted mean of checkpoints; memory holds the first, one other and the sums.

    Args:
        paths: two or more checkpoints of one architecture.
        output: the new one, ending in .ckpt.
        weights: one for each, scaled to a sum of 1; None: all equal.
        trust: see `vidiff.load_model`.

    Returns:
        `output`.

    Raises:
        UsageError, RunError: a checkpoint cannot be used, their architectures differ, or the output cannot be written.
    """
    paths, output = [Path(p) for p in paths], Path(output)
    shares = _shares(weights, len(paths))
    if output.suffix != ".ckpt":
        raise UsageError(f"output {output}: the name has to end in .ckpt")
    if output.resolve() in [path.resolve() for path in paths]:
        raise UsageError(f"output {output} is one of the inputs: choose another name")
    check_writable(output)
    first = read_checkpoint(paths[0])
    model = build_model(first, paths[0], trust)
    state = first["state_dict"]
    moved = _average(model, paths, shares, first)
    parameters = {f"generator.{name}" for name, _ in model.generator.named_parameters()}
    if moved & parameters and not isinstance(model, Translator):  # translators have no statistics to measure
        # BatchNorm's of the raw generator belong to none of the inputs' weights any more. The moving average's are
        # measured whenever a checkpoint is loaded, and the discriminator's, an average, are used by no sample.
        model.load_state_dict(state, strict=first["vidiff"].get("holds") != AVERAGE)
        if standing_statistics(model.generator, model.statistics_batch):
            state.update({f"generator.{k}": v for k, v in model.generator.state_dict().items()})
    record = first["vidiff"] | {"strategies": {}, "fused": [[str(p), w] for p, w in zip(paths, shares)]}
    record["checksum"] = checksum(state)
    if moved:
        record.pop("statistics", None)  # the moving average's are measured when the file is loaded
    kept = {name: first[name] for name in ("pytorch-lightning_version", "epoch", "global_step") if name in first}
    with replacing(output) as temporary, doing(f"writing {output}"):
        torch.save({"state_dict": state, "vidiff": record} | kept, temporary)
    return output


def _shares(given: Sequence[float] | None, count: int) -> list[float]:
    """Weights that sum to 1."""
    if count < 2:
        raise UsageError("fuse needs at least two checkpoints")
    weights = [1.0] * count if given is None else list(given)
    written = ", ".join(f"{w:g}" for w in weights)
    if len(weights) != count:
        raise UsageError(f"weights {written}: {len(weights)} weights for {count} checkpoints")
    if not all(0 <= w < float("inf") for w in weights) or sum(weights) == 0:
        raise UsageError(f"weights {written}: they must not be negative, and not all be 0")
    return [w / sum(weights) for w in weights]


def _average(model: VideoModule, paths: list[Path], shares: list[float], first: dict[str, Any]) -> set[str]:
    """Move the first checkpoint's weights to the mean; the names of those that are others now."""
    state = first["state_dict"]
    names = [name for name in _averaged_names(model) if name in state]
    sums = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in names}
    moved: set[str] = set()
    for path, share in zip(paths[1:], shares[1:]):
        other = read_checkpoint(path)
        _check_same(paths[0], first, path, other)
        for name in sums:
            # Sums of differences, so that equal inputs give the same weights to the bit.
            difference = other["state_dict"][name].double() - state[name].double()
            sums[name] += share * difference
            if share and difference.count_nonzero():
                moved.add(name)
        for name in state:
            if name.endswith("n_averaged"):
                state[name] = torch.maximum(state[name], other["state_dict"][name])
    for name in moved:
        state[name] = (state[name].double() + sums[name]).to(state[name].dtype)
    return moved


def _averaged_names(model: VideoModule) -> list[str]:
    """Parameters of the networks and of the moving average, and BatchNorm's statistics; other state (ADA's
    probability, a growing network's level, spectral norm's vectors) means nothing on average: the first one's stays."""
    parameters = [name for name, _ in model.named_parameters()]
    statistics = [n for n, _ in model.named_buffers() if n.rpartition(".")[2] in ("running_mean", "running_var")]
    return parameters + statistics


def _check_same(first_path: Path, first: dict[str, Any], path: Path, other: dict[str, Any]) -> None:
    a, b = first["vidiff"], other["vidiff"]
    if a["class_path"] != b["class_path"]:
        kinds = [r["class_path"].rpartition(".")[2] for r in (a, b)]
        raise UsageError(f"{first_path} holds a {kinds[0]}, {path} a {kinds[1]}: only one architecture can be averaged")
    if a.get("holds") != b.get("holds"):
        alone, whole = (first_path, path) if a.get("holds") == AVERAGE else (path, first_path)
        raise UsageError(f"{alone} holds the averaged generator alone, {whole} a training: average files of one kind")
    if name := unlike(first["state_dict"], other["state_dict"]):
        pairs = [(k, v, b["init_args"].get(k)) for k, v in a["init_args"].items()]
        why = ", ".join(f"{k} {mine!r} and {others!r}" for k, mine, others in pairs if mine != others) or name
        raise UsageError(
            f"{first_path} and {path} are networks of different architectures ({why}): only equal ones can be averaged"
        )
