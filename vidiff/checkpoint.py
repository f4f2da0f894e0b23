"""From a checkpoint file to a model, safely and with nothing but the file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.errors import RunError, UsageError
from vidiff.models._record import CHECKPOINT_SCHEMA
from vidiff.models.base import AdversarialModule
from vidiff.nn.translation import GRID


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


def find_domains(model: AdversarialModule, direction: str | None = None, target: str | None = None) -> tuple[int, int]:
    """(source, target) numbers of what is asked of a translation.

    Args:
        direction: `a2b`, `b2a` ...; a2b of two domains when nothing is said.
        target: instead: name or number of a domain.

    Raises:
        UsageError: the model does not translate, or there is no such direction or domain.
    """
    if not hasattr(model, "translate"):
        raise UsageError(f"{type(model).__name__} does not translate videos: it makes them (`vidiff sample`)")
    if direction is not None and target is not None:
        raise UsageError("give a direction or a target, not both")
    directions, names = model.directions, model.domains
    if target is not None:
        number = names.index(target) if target in names else int(target) if target.isdecimal() else -1
        if not 0 <= number < len(names):
            raise UsageError(f"target {target}: this model knows the domains {', '.join(names)}")
        return next(pair for pairs in directions.values() for pair in pairs if pair[1] == number)
    if direction is None and "a2b" not in directions:
        raise UsageError(f"a target is needed: this model knows the domains {', '.join(names)}")
    if (direction or "a2b") not in directions:
        raise UsageError(f"direction {direction}: this model has {', '.join(directions)}")
    return directions[direction or "a2b"][0]


class CheckpointTranslation:
    """A trained translation as a function of clips, e.g. the `transform` of `vidiff.augment.ContentTransform`.

    Args:
        ckpt: a checkpoint of a model that translates.
        direction, target: see `find_domains`.
        device: where it runs; None: where the first clips are.

    Raises:
        UsageError, RunError: see `load_model` and `find_domains`.
    """

    def __init__(self, ckpt: str, direction: str | None = None, target: str | None = None, device: str | None = None):
        self.model, self.device = load_model(ckpt, device or "cpu"), device
        self.pair = find_domains(self.model, direction, target)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Tensor:
        """float (N, C, T, H, W) in [-1, 1], any T, H and W -> the same shape, device and precision."""
        channels, (h, w) = self.model.spec.channels, clips.shape[-2:]
        if clips.shape[1] != channels:
            raise UsageError(f"the translation's checkpoint takes {channels} channels, the clips have {clips.shape[1]}")
        if self.device is None and self.model.device != clips.device:
            self.model.to(clips.device)
        x = F.pad(clips.to(self.model.device, self.model.dtype), (0, -w % GRID, 0, -h % GRID, 0, 0), "replicate")
        return self.model.mapping(*self.pair)(x)[..., :h, :w].to(clips)
