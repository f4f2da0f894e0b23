"""What a checkpoint says of its model, and what happens when the configuration says something else."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import torch
from torch import Tensor

from vidiff import __version__
from vidiff.errors import RunError, UsageError
from vidiff.models.arguments import is_plain
from vidiff.parallel import rank
from vidiff.renamed import renamed

CHECKPOINT_SCHEMA = 1
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


def checksum(state: dict[str, Tensor]) -> str:
    """A hash of names, precisions, shapes and values."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


class Record:
    """The checkpoint hooks of an `AdversarialModule`."""

    _restored_end: int | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        cls = type(self)
        arguments = {k: v for k, v in self._arguments.items() if is_plain(v)}
        left_out = sorted(set(self._arguments) - set(arguments))
        config = (self.config or {}).get("init_args", {})
        arguments.update({k: config[k] for k in left_out if is_plain(config.get(k, self))})
        # The average's BatchNorm statistics are measured now: whoever samples from the file need not.
        self.averaged_generator()
        checkpoint["vidiff"] = {
            "schema": CHECKPOINT_SCHEMA,
            "version": __version__,
            "class_path": f"{cls.__module__}.{cls.__qualname__}",
            "init_args": arguments,
            "not_stored": [k for k in left_out if k not in arguments],
            "batches_seen": self.batches_seen,
            "strategies": self._strategy_state(),
            "total_steps": self.lr_schedule.total_steps,  # where the rates end, if it was the trainer that said it
            "data": self.data_record,
            "statistics": "measured",
            "checksum": checksum(checkpoint["state_dict"]),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        record, cls = record_of(checkpoint), type(self)
        if record["class_path"] != f"{cls.__module__}.{cls.__qualname__}":
            raise UsageError(
                f"the checkpoint holds a {record['class_path']}, but the configuration asks for "
                f"{cls.__module__}.{cls.__qualname__}"
            )
        self._compare(record["init_args"], checkpoint["state_dict"])
        if record.get("fused") and self.trainer.state.fn == "fit":
            raise UsageError("--ckpt_path: this checkpoint was fused from several and has no training to continue")
        self.batches_seen = record["batches_seen"]
        self._load_strategy_state(record.get("strategies", {}))
        self.restored_data, self._restored_end = record["data"], record.get("total_steps")

    def _compare(self, stored: dict[str, Any], state: dict[str, Tensor]) -> None:
        """The command line wins over the checkpoint: say where they differ, refuse what cannot be loaded."""
        mine = self.state_dict()
        if wrong := [k for k in state if k not in mine or mine[k].shape != state[k].shape] + [
            k for k in mine if k not in state
        ]:
            changed = [f"{k}={stored[k]!r}" for k in stored if k in self._arguments and self._arguments[k] != stored[k]]
            raise UsageError(
                "the checkpoint's networks are not the configured ones "
                f"({', '.join(changed) or wrong[0]} in the checkpoint): set the model as it was trained"
            )
        for name, value in self._arguments.items():
            if name in stored and is_plain(value) and is_plain(stored[name]) and stored[name] != value:
                say(f"model.{name} is {value!r}; the checkpoint was trained with {stored[name]!r}")

    def on_train_start(self) -> None:
        self.plan_schedule()
        before, now = self._restored_end, self.lr_schedule.total_steps
        if self.lr_schedule.kind != "constant" and before not in (None, now):
            say(
                f"the learning rates now reach their end at generator step {now}; the checkpoint's run had planned "
                f"{before} (--model.lr_schedule.total_steps {before} keeps that)"
            )
        # A restored optimiser brings its old settings along; the configured ones win.
        for player, optimizer, wanted in zip(self.players, self.optimizers(), self._optimizer_settings):
            for group, settings in zip(optimizer.param_groups, wanted):
                for name, value in settings.items():
                    if name != "lr" and group.get(name) != value:
                        label = "lr" if name == "initial_lr" else name
                        say(f"model.optimizer_{player}.{label} is {value!r}; the checkpoint had {group.get(name)!r}")
                        group[name] = value


def say(message: str) -> None:
    """One line on stderr, from one process."""
    if rank() == 0:
        print(f"vidiff: {message}", file=sys.stderr)
