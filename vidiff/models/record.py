"""What a checkpoint records of its model, and how a model of another configuration is continued from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vidiff import __version__
from vidiff.errors import RunError, UsageError, first_line
from vidiff.models.arguments import is_plain
from vidiff.optim import Schedule
from vidiff.parallel import rank
from vidiff.pretrained.frozen import trained_against
from vidiff.progress import say
from vidiff.renamed import renamed

if TYPE_CHECKING:
    from vidiff.models.module import VideoModule

CHECKPOINT_SCHEMA = 1
AVERAGE = "average"  # `holds` of a record: nothing but the averaged generator, as in a model of the zoo
AVERAGED = "generator_ema.module."  # what the names of its weights begin with
FIELDS = {
    "schema": int, "version": str, "class_path": str, "init_args": dict, "not_stored": list, "batches_seen": int,
    "data": dict,
}  # fmt: skip


def record_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The `vidiff` record of a checkpoint, every field of its type and nothing in it but plain values.

    Raises:
        RunError: there is none, it is of a newer version, or it is not what vidiff writes.
    """
    record = checkpoint.get("vidiff")
    if not isinstance(record, dict):
        raise RunError("it was not written by vidiff: it holds no `vidiff` record")
    if type(record.get("schema")) is int and record["schema"] > CHECKPOINT_SCHEMA:
        raise RunError(f"it was written by vidiff {record.get('version')}; this version cannot read it")
    for name, kind in FIELDS.items():
        if type(record.get(name)) is not kind:
            found = f"is a {type(record[name]).__name__}" if name in record else "is missing"
            raise RunError(f"its record is damaged: {name} {found}, a {kind.__name__} is expected")
    if not is_plain(record) or not isinstance(record.get("strategies", {}), dict):
        raise RunError("its record is damaged: it holds more than plain values, or nests them too deeply")
    if record["batches_seen"] < 0 or not all(isinstance(name, str) for name in record["not_stored"]):
        raise RunError("its record is damaged: batches_seen is negative, or not_stored holds no names")
    checkpoint["vidiff"] = record = renamed(record)  # whoever reads on finds the present names
    return record


def network_of(path: str, setting: str, network: str = AVERAGED) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record of a checkpoint, and the weights of one of its networks.

    Args:
        path: of the file that a setting names.
        setting: its name, for messages.
        network: what the names of its weights begin with; the averaged generator.

    Raises:
        UsageError: there is no such file.
        RunError: it is no checkpoint of vidiff.
    """
    if not Path(path).is_file():
        raise UsageError(f"{setting} {path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        record, state = record_of(content), content["state_dict"]
    except Exception as error:
        raise RunError(f"{setting} {path} is not a readable checkpoint: {first_line(error)}") from error
    return record, {k.removeprefix(network): v for k, v in state.items() if k.startswith(network)}


def checksum(state: dict[str, Tensor]) -> str:
    """A hash of names, precisions, shapes and values."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


def unlike(a: dict[str, Tensor], b: dict[str, Tensor]) -> str | None:
    """The first weight that only one of two networks has, or that has another shape; None: they are alike."""
    return next((k for k in [*a, *b] if k not in a or k not in b or a[k].shape != b[k].shape), None)


def part_of(record: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file with this record has to hold of the state of its model: all of it, or the generators."""
    whole = record.get("holds") != AVERAGE
    return {k: v for k, v in state.items() if whole or k.startswith(("generator.", "generator_ema."))}


def name_of(family: type) -> str:
    """The class path of a family."""
    return f"{family.__module__}.{family.__qualname__}"


def make_record(model: VideoModule, state: dict[str, Tensor]) -> dict[str, Any]:
    """The `vidiff` record of a checkpoint.

    Args:
        model: an argument of it that is not plain is stored as the configuration has it, where there is one.
        state: weights of the checkpoint.
    """
    config = (model.config or {}).get("init_args", {})
    plain = {k: v for k, v in model.arguments.items() if is_plain(v)}
    left_out = sorted(set(model.arguments) - set(plain))
    plain |= {k: config[k] for k in left_out if k in config and is_plain(config[k])}
    return {
        "schema": CHECKPOINT_SCHEMA,
        "version": __version__,
        "class_path": name_of(type(model)),
        "init_args": plain,
        "not_stored": [k for k in left_out if k not in plain],
        "batches_seen": model.batches_seen,
        "strategies": model.strategies.state_dict(),
        "total_steps": model.strategies.schedule.total_steps,  # where the rates end
        "data": model.data_record,
        "statistics": "measured",
        "trained_against": trained_against(model),
        "checksum": checksum(state),
    }


def check_restored(model: VideoModule, record: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Refuse a checkpoint that does not fit the configured model; one line for each setting that differs, and wins.

    Args:
        record, state: record and weights of the checkpoint.

    Raises:
        UsageError: it is of another family, or of other networks.
    """
    arguments, stored, mine = model.arguments, record["init_args"], model.state_dict()
    if record["class_path"] != name_of(type(model)):
        raise UsageError(
            f"the checkpoint holds a {record['class_path']}, but the configuration asks for {name_of(type(model))}"
        )
    if wrong := unlike(state, mine):
        changed = [f"{k}={v!r}" for k, v in stored.items() if k in arguments and arguments[k] != v]
        raise UsageError(
            "the checkpoint's networks are not the configured ones "
            f"({', '.join(changed) or wrong} in the checkpoint): set the model as it was trained"
        )
    for name, value in arguments.items():
        if name in stored and is_plain(value) and is_plain(stored[name]) and stored[name] != value:
            inform(f"model.{name} is {value!r}; the checkpoint was trained with {stored[name]!r}")


def check_end(schedule: Schedule, before: int | None) -> None:
    """One line where the rates reach their end at another step than the resumed run had planned."""
    now = schedule.total_steps
    if schedule.kind != "constant" and before not in (None, now):
        inform(
            f"the learning rates now reach their end at generator step {now}; the checkpoint's run had planned "
            f"{before} (--model.lr_schedule.total_steps {before} keeps that)"
        )


def configure_again(player: str, optimizer: Optimizer, configured: list[dict[str, Any]]) -> None:
    """Give a restored optimizer, which brings its old settings along, the configured ones.

    Args:
        configured: the settings of each of its groups.
    """
    for group, settings in zip(optimizer.param_groups, configured):
        for name, value in settings.items():
            if name == "fused":  # how it is computed, not what
                group[name] = value
            elif name not in ("params", "lr") and group.get(name) != value:
                label = "lr" if name == "initial_lr" else name
                inform(f"model.optimizer_{player}.{label} is {value!r}; the checkpoint had {group.get(name)!r}")
                group[name] = value


def inform(message: str) -> None:
    """One line on stderr, from one process."""
    if rank() == 0:
        say(message)
