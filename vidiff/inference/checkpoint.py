"""From a checkpoint file to a model, safely and with nothing but the file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.errors import RunError, UsageError
from vidiff.inference.trust import Budget, build, check_name, check_names, look_up
from vidiff.models.arguments import is_plain
from vidiff.models.base import AdversarialModule
from vidiff.models.record import checksum, record_of
from vidiff.nn.resnet import GRID

LARGEST = 1_000_000  # values in a checkpoint, however they are nested
WEIGHTS = ("state_dict", "optimizer_states")  # where every number has to be finite


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The raw content of a checkpoint: plain tensors and Python values, whole, finite, and as they were written.

    Read with `weights_only=True`. The file's own checksums find flipped bits of any part of it, the record's those of
    a network that was changed after training (older files have none).

    Raises:
        UsageError: no such file. RunError: not a checkpoint of vidiff, of a newer version, or a damaged one.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"checkpoint {path} is a folder: {_inside(path)}")
    if not path.exists():
        raise UsageError(f"checkpoint {path} does not exist")
    try:
        content = _load(path)
    except RunError as error:
        raise RunError(f"{path} is not a readable checkpoint: {error}") from error
    except Exception as error:
        reason = "it holds more than plain values" if "weights_only" in str(error) else first_line(error)
        raise RunError(f"{path} is not a readable checkpoint: {reason}") from error
    try:
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
    except RunError as error:
        raise RunError(f"{path} cannot be used: {error}") from error
    return content


def first_line(error: Exception) -> str:
    """The kind and the first line of an error that nobody foresaw."""
    return f"{type(error).__name__}: {(str(error).strip() or 'without a message').splitlines()[0]}"


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


def load_model(path: str | Path, device: str = "cpu", trust: Sequence[str] = (), **overrides: Any) -> AdversarialModule:
    """The model of a checkpoint, in eval mode, ready for `model.sample(n)`.

    A checkpoint is data: what it may name is a closed set, see `vidiff.inference.trust`.

    Args:
        path: a `.ckpt` of a run.
        device: where to put it.
        trust: modules of your own whose classes the checkpoint may name, e.g. `("my_models",)`.
        overrides: constructor arguments that the file could not store (network factories made in Python).

    Raises:
        UsageError, RunError: see `read_checkpoint`; or the file names what it may not, or does not fit together.

    >>> model = vidiff.load_model("runs/dcgan/.../checkpoints/best.ckpt")   # doctest: +SKIP
    >>> model.sample(4, seed=1).shape                                       # doctest: +SKIP
    torch.Size([4, 3, 16, 32, 32])
    """
    content = read_checkpoint(path)
    record, state = content["vidiff"], content["state_dict"]
    try:
        check_name(record["class_path"], trust)
        check_names(record["init_args"], trust)
        cls = look_up(record["class_path"], trust)
        if not (isinstance(cls, type) and issubclass(cls, AdversarialModule)):
            raise RunError(f"{record['class_path']} is no AdversarialModule")
        if missing := [k for k in record["not_stored"] if k not in overrides]:
            raise UsageError(f"it was trained with {', '.join(missing)} given in Python: pass the same to load_model")
        with Budget(4 * sum(v.numel() for v in state.values()) + 2**26, 50 * len(state) + 5_000):
            model = build(cls, {**record["init_args"], **overrides}, trust)
        _check_same(model.state_dict(), state)
        model.load_state_dict(state)
        model.data_record = record["data"]
        if not all(isinstance(name, str) for name in getattr(model, "domains", [])):
            raise RunError("its record is damaged: its domains have no names")
    except (UsageError, RunError) as error:
        raise type(error)(f"{path} cannot be used: {error}") from error
    except Exception as error:
        raise RunError(f"{path} cannot be used: its record does not make a model ({first_line(error)})") from error
    if record.get("statistics") == "measured":
        model.generator_ema.stale = False
    return model.to(device).eval().requires_grad_(False)


def load_like(model: AdversarialModule, path: str | Path) -> AdversarialModule:
    """`load_model` for a checkpoint of a training that is going on.

    The modules that its own configuration names are its user's program, and what it was given in Python is given again.
    """
    config = (model.config or {}).get("init_args", {})
    given = {k: v for k, v in model._arguments.items() if not is_plain(v) and not is_plain(config.get(k, v))}
    trust, queue = {type(model).__module__}, [config]
    while queue:
        value = queue.pop()
        if isinstance(value, dict) and isinstance(value.get("class_path"), str):
            trust.add(value["class_path"].rpartition(".")[0])
        queue += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return load_model(path, str(model.device), sorted(trust - {""}), **given)


def _check_same(mine: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    shapes = [{k: tuple(v.shape) for k, v in state.items()} for state in (mine, stored)]
    for name in [*mine, *stored]:
        if shapes[0].get(name) != shapes[1].get(name):
            have = [s.get(name, "missing") for s in shapes]
            raise RunError(f"its weights are not those of its record: {name} is {have[1]}, {have[0]} is expected")


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
        trust: see `load_model`.

    Raises:
        UsageError, RunError: see `load_model` and `find_domains`.
    """

    def __init__(
        self,
        ckpt: str,
        direction: str | None = None,
        target: str | None = None,
        device: str | None = None,
        trust: Sequence[str] = (),
    ):
        self.model, self.device = load_model(ckpt, device or "cpu", trust), device
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
