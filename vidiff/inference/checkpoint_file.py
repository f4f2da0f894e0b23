"""What a checkpoint file holds: plain tensors and values, whole and finite, before any of it is used."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidiff.errors import RunError, UsageError, first_line
from vidiff.inference.weights_file import SUFFIX, load_weights
from vidiff.models.record import checksum, record_of
from vidiff.zoo import is_zoo, path_of

LARGEST = 1_000_000  # values in a checkpoint, however they are nested
WEIGHTS = ("state_dict", "optimizer_states")  # where every number has to be finite


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint: plain tensors and Python values, whole, finite, and as they were written.

    Only the classes that its record, `vidiff`, names have their present names.

    Read with `weights_only=True`. The file's own checksums find flipped bits of any part of it, the record's those of
    a network that was changed after training (older files have none).

    Args:
        path: a `.ckpt` of a run; `zoo:NAME`, or another `.safetensors` like those, see `vidiff.inference.weights_file`.

    Raises:
        UsageError: no such file. RunError: not a checkpoint of vidiff, of a newer version, or a damaged one.
    """
    path = path_of(path) if is_zoo(path) else Path(path)
    if path.is_dir():
        raise UsageError(f"checkpoint {path} is a folder: {_inside(path)}")
    if not path.exists():
        raise UsageError(f"checkpoint {path} does not exist")
    try:
        content = load_weights(path) if path.suffix == SUFFIX else _load(path)
    except Exception as error:
        reason = "it holds more than plain values" if "weights_only" in str(error) else first_line(error)
        reason = str(error) if isinstance(error, RunError) else reason
        raise RunError(f"{path} is not a readable checkpoint: {reason}") from error
    try:
        _check(content)
    except RunError as error:
        raise RunError(f"{path} cannot be used: {error}") from error
    return content


def _check(content: dict[str, Any]) -> None:
    record, state = record_of(content), content.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise RunError("it holds no weights: `state_dict` is missing, or no dict of tensors")
    if type(content.get("global_step")) is not int or content["global_step"] < 0:
        raise RunError("it is damaged: `global_step` is no step")
    for name, tensor in _tensors({k: content[k] for k in WEIGHTS if k in content}):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f"{name} is not finite (NaN or infinite numbers): the training had diverged")
    if record.get("checksum") not in (None, checksum(state)):
        raise RunError("its weights are not those that were written: their checksum is another one")


def _inside(folder: Path) -> str:
    """Which checkpoint of a folder to take."""
    found = [p for name in ("best.ckpt", "last.ckpt") for p in (folder / name, folder / "checkpoints" / name)]
    found = [p for p in found if p.is_file()] or sorted(folder.rglob("*.ckpt"))[:3]
    return f"take {' or '.join(map(str, found))}" if found else "and holds no checkpoint"


def _load(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if not size:
        raise RunError("it is empty")
    if not zipfile.is_zipfile(path):
        raise RunError("it was cut off, or never was one")
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        # torch compresses nothing: what would unfold to more than the file is no checkpoint.
        if sum(p.file_size for p in parts) > size or any(p.compress_type != zipfile.ZIP_STORED for p in parts):
            raise RunError("it is a compressed archive")
        if damaged := archive.testzip():
            raise RunError(f"it is damaged: the checksum of its part {damaged} is wrong")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise RunError(f"it holds a {type(content).__name__}, not a checkpoint")
    for name, tensor in _tensors(content):
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        if not plain or tensor.is_meta or tensor.is_quantized or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise RunError(f"{name} is no plain tensor")
    return content


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of all tensors in nested dicts, lists and tuples."""
    queue, seen = [("", content)], 0
    while queue:
        name, value = queue.pop()
        seen += 1
        if seen > LARGEST:
            raise RunError("it nests too much")
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            queue += [(f"{name}.{key}" if name else str(key), v) for key, v in items]
