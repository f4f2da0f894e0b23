"""From a checkpoint file to a model, safely and with nothing but the file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidiff.errors import RunError, UsageError
from vidiff.models._record import CHECKPOINT_SCHEMA
from vidiff.models.base import AdversarialModule


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The raw content of a checkpoint: plain tensors and Python scalars, read with `weights_only=True`.

    Raises:
        UsageError: no such file. RunError: not a checkpoint of vidiff, or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from error
    record = content.get("vidiff") if isinstance(content, dict) else None
    if record is None:
        raise RunError(f"{path} was not written by vidiff: it holds no `vidiff` record")
    if record["schema"] > CHECKPOINT_SCHEMA:
        raise RunError(f"{path} was written by vidiff {record['version']}; this version cannot read it")
    return content


def load_model(path: str | Path, device: str = "cpu", **overrides: Any) -> AdversarialModule:
    """The model of a checkpoint, in eval mode, ready for `model.sample(n)`.

    Args:
        path: a `.ckpt` of a run.
        device: where to put it.
        overrides: constructor arguments that the file could not store (network factories made in Python).

    Raises:
        UsageError, RunError: see `read_checkpoint`; or the class is not an `AdversarialModule`.

    >>> model = vidiff.load_model("runs/dcgan/.../checkpoints/best.ckpt")   # doctest: +SKIP
    >>> model.sample(4, seed=1).shape                                       # doctest: +SKIP
    torch.Size([4, 3, 16, 32, 32])
    """
    content = read_checkpoint(path)
    record = content["vidiff"]
    module_name, _, class_name = record["class_path"].rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise RunError(f"{path} holds a {record['class_path']}, which cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, AdversarialModule)):
        raise RunError(f"{path} names {record['class_path']}, which is no AdversarialModule")
    if missing := [k for k in record["not_stored"] if k not in overrides]:
        raise UsageError(f"{path} was trained with {', '.join(missing)} given in Python: pass the same to load_model")
    arguments = {**record["init_args"], **overrides}
    model = _instantiate(cls, arguments)
    model.load_state_dict(content["state_dict"])
    model.data_record = record["data"]
    return model.to(device).eval().requires_grad_(False)


def _instantiate(cls: type[AdversarialModule], arguments: dict[str, Any]) -> AdversarialModule:
    """Build `cls`; arguments that came from a YAML as `class_path` dicts are resolved by the signature's types."""
    if not any(isinstance(v, dict | list) for v in arguments.values()):
        return cls(**arguments)
    from jsonargparse import ArgumentParser

    live = {k: v for k, v in arguments.items() if callable(v) or isinstance(v, nn.Module)}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "model", skip=set(live), instantiate=False)
    config = parser.parse_object({"model": {k: v for k, v in arguments.items() if k not in live}})
    return cls(**parser.instantiate(config).model, **live)
