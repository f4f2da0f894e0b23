"""Average checkpoints of one architecture into a new one.

Raw weights and moving averages alike (over the length of a run as in Izmailov et al. 2018, 1803.05407, or over runs).
The result is for sampling and measuring: it holds no optimiser, so that training cannot be continued from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vidiff.commands._trust import add_trust
from vidiff.errors import UsageError, doing
from vidiff.files import check_writable, replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ckpts", nargs="+", type=Path, metavar="CKPT", help="two or more checkpoints")
    parser.add_argument("--out", required=True, type=Path, help="the new checkpoint")
    parser.add_argument("--weights", help="a weight for each, e.g. 2,1 (default: all equal)")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    weights = _weights(args.weights, len(args.ckpts))
    if args.out.suffix != ".ckpt":
        raise UsageError(f"--out {args.out}: the name has to end in .ckpt")
    if args.out.resolve() in [path.resolve() for path in args.ckpts]:
        raise UsageError(f"--out {args.out} is one of the inputs: choose another name")
    check_writable(args.out)

    import torch

    from vidiff.inference.checkpoint import load_model, read_checkpoint
    from vidiff.models.record import checksum

    # One after the other: memory holds the first, the present one and the sums.
    first = read_checkpoint(args.ckpts[0])
    model = load_model(args.ckpts[0], trust=args.trust)
    state = first["state_dict"]
    averaged = _averaged_names(model)
    sums = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in averaged}
    moved: set[str] = set()
    for path, weight in zip(args.ckpts[1:], weights[1:]):
        other = read_checkpoint(path)
        _check_same(args.ckpts[0], first, path, other)
        for name in averaged:
            # Sums of differences, so that equal inputs give the same weights to the bit.
            difference = other["state_dict"][name].double() - state[name].double()
            sums[name] += weight * difference
            if weight and difference.count_nonzero():
                moved.add(name)
        for name in state:
            if name.endswith("n_averaged"):
                state[name] = torch.maximum(state[name], other["state_dict"][name])
    for name in moved:
        state[name] = (state[name].double() + sums[name]).to(state[name].dtype)
    parameters = {f"generator.{name}" for name, _ in model.generator.named_parameters()}
    if moved & parameters and not hasattr(model, "translate"):  # translators have no statistics to measure
        _measure_statistics(model, state)
    record = first["vidiff"] | {"strategies": {}, "fused": [[str(p), w] for p, w in zip(args.ckpts, weights)]}
    record["checksum"] = checksum(state)
    if moved:
        record.pop("statistics", None)  # the moving average's are measured when the file is loaded
    content = {
        "state_dict": state,
        "vidiff": record,
        "pytorch-lightning_version": first["pytorch-lightning_version"],
        "epoch": first["epoch"],
        "global_step": first["global_step"],
    }
    _save(content, args.out)
    print(f"{len(args.ckpts)} checkpoints averaged in {args.out}")
    return 0


def _weights(given: str | None, count: int) -> list[float]:
    """Weights that sum to 1."""
    if count < 2:
        raise UsageError("fuse needs at least two checkpoints")
    try:
        weights = [float(w) for w in given.split(",")] if given else [1.0] * count
    except ValueError:
        raise UsageError(f"--weights {given}: numbers with commas between them are accepted") from None
    if len(weights) != count:
        raise UsageError(f"--weights {given}: {len(weights)} weights for {count} checkpoints")
    if not all(0 <= w < float("inf") for w in weights) or sum(weights) == 0:
        raise UsageError(f"--weights {given}: they must not be negative, and not all be 0")
    return [w / sum(weights) for w in weights]


def _averaged_names(model) -> list[str]:
    """Parameters of the networks and of the moving average, and BatchNorm's statistics; other state (ADA's
    probability, a growing network's level, spectral norm's vectors) means nothing on average: the first one's stays."""
    parameters = [name for name, _ in model.named_parameters()]
    statistics = [n for n, _ in model.named_buffers() if n.rpartition(".")[2] in ("running_mean", "running_var")]
    return parameters + statistics


def _check_same(first_path: Path, first: dict, path: Path, other: dict) -> None:
    a, b = first["vidiff"], other["vidiff"]
    if a["class_path"] != b["class_path"]:
        kinds = [r["class_path"].rpartition(".")[2] for r in (a, b)]
        raise UsageError(f"{first_path} holds a {kinds[0]}, {path} a {kinds[1]}: only one architecture can be averaged")
    shapes, others = ({k: tuple(v.shape) for k, v in c["state_dict"].items()} for c in (first, other))
    if shapes == others:
        return
    name = next(k for k in [*shapes, *others] if shapes.get(k) != others.get(k))
    arguments = [k for k in a["init_args"] if a["init_args"][k] != b["init_args"].get(k)]
    why = ", ".join(f"{k} {a['init_args'][k]!r} and {b['init_args'].get(k)!r}" for k in arguments)
    raise UsageError(
        f"{first_path} and {path} are networks of different architectures ({why or name}): only equal ones can be "
        "averaged"
    )


def _measure_statistics(model, state: dict) -> None:
    """BatchNorm's statistics of the raw generator belong to none of the inputs' weights any more: measure its own.

    The moving average's are measured whenever a checkpoint is loaded, and the discriminator's, an average of the
    inputs', are used by no sample.
    """
    from vidiff.ema import standing_statistics

    model.load_state_dict(state)
    if standing_statistics(model.generator, model.statistics_batch):
        state.update({f"generator.{k}": v for k, v in model.generator.state_dict().items()})


def _save(content: dict, path: Path) -> None:
    import torch

    with replacing(path) as temporary, doing(f"writing {path}"):
        torch.save(content, temporary)
