"""The averaged generator of a training as a safetensors file: all that inference needs, and nothing that can run.

Its tensors are named as in the generator; weights are bfloat16, whatever has fewer than two dimensions (biases, norms,
BatchNorm's statistics) keeps its precision. The header holds the record of the checkpoint as JSON, see
`vidiff.models.record`, under the rules of `vidiff.inference.trust`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vidiff.errors import RunError, UsageError
from vidiff.models.module import VideoModule
from vidiff.models.record import AVERAGE, checksum
from vidiff.models.translation import Translator

SUFFIX = ".safetensors"
RECORD, STEP, ABOUT = "vidiff", "global_step", "about"  # keys of the header
LARGEST_RECORD = 2**20  # characters


def round_weights(model: VideoModule) -> None:
    """Give the moving average the values that a file will hold, and measure BatchNorm's statistics for them."""
    average = model.generator_ema.module
    with torch.no_grad():
        for tensor in average.state_dict().values():
            tensor.copy_(_stored(tensor).to(tensor.dtype))
    if not isinstance(model, Translator):  # they have no statistics to measure, and no clips from noise
        model.generator_ema.stale = True
        model.sampler.averaged()


def write_weights(
    model: VideoModule, content: dict[str, Any], path: Path, rounded: bool = True, about: str = ""
) -> None:
    """Write the moving average of a model; see `round_weights` for what changes where it is rounded.

    Args:
        model: its moving average is written.
        content: the checkpoint that the model was made of, see `read_checkpoint`.
        path: of the file, a temporary one: see `vidiff.files.replacing`.
        rounded: weights are bfloat16; else nothing is rounded.
        about: JSON for other programs, in the header too.

    Raises:
        UsageError: it was trained with what only Python can give.
    """
    record = content["vidiff"]
    if record["not_stored"]:
        raise UsageError(f"it was trained with {', '.join(record['not_stored'])} given in Python, which no file holds")
    average = model.generator_ema.module.state_dict()
    tensors = {name: _stored(tensor, rounded) for name, tensor in average.items()}
    # Layers whose state has had other forms tell them apart by a number.
    versions = {layer: more["version"] for layer, more in average._metadata.items() if more.get("version", 1) != 1}
    state = _state(tensors, content["global_step"], versions)
    record = record | {"strategies": {}, "holds": AVERAGE, "statistics": "measured", "checksum": checksum(state)}
    record["versions"] = versions
    header = {"format": "pt", RECORD: json.dumps(record), STEP: str(content["global_step"])}
    header |= {ABOUT: about} if about else {}
    path.write_bytes(save(tensors, header))  # `save_file` makes a file that only its owner may read


def load_weights(path: Path) -> dict[str, Any]:
    """What `write_weights` wrote, in float32, in the form of a checkpoint whose raw weights are the average too.

    Raises:
        RunError, SafetensorError, ValueError: it is no such file.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        if RECORD not in header or STEP not in header:
            raise RunError("it was not written by vidiff: its header holds no `vidiff` record")
        if len(header[RECORD]) > LARGEST_RECORD or not header[STEP].isascii() or not header[STEP].isdecimal():
            raise RunError("its header is damaged: the record is too long, or the step is no number")
        record, step = json.loads(header[RECORD]), int(header[STEP][:12])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if not isinstance(record, dict) or record.get("holds") != AVERAGE:
        raise RunError("its header is damaged: the record is not the one of an averaged generator")
    versions = record.get("versions")
    if not isinstance(versions, dict) or not all(type(v) is int for v in versions.values()):
        raise RunError("its header is damaged: `versions` holds no numbers")
    return {"state_dict": _state(tensors, step, versions), "vidiff": record, "global_step": step}


def _stored(tensor: Tensor, rounded: bool = True) -> Tensor:
    """A tensor as the file holds it."""
    tensor = tensor.detach().cpu().clone().contiguous()
    return tensor.bfloat16() if rounded and tensor.is_floating_point() and tensor.ndim > 1 else tensor


def _state(tensors: dict[str, Tensor], step: int, versions: dict[str, int]) -> dict[str, Tensor]:
    """The part of a model's state that is made of its averaged generator."""
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    state, places = OrderedDict(), ("generator", "generator_ema.module")
    for place in places:
        state.update((f"{place}.{name}", tensor) for name, tensor in tensors.items())
    state["generator_ema.n_averaged"] = torch.tensor(step)
    state._metadata = {f"{p}.{layer}".rstrip("."): {"version": v} for p in places for layer, v in versions.items()}
    return state
