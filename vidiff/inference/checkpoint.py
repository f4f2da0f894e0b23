"""From a checkpoint file to a model, safely and with nothing but the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import sha256_of
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.inference.device import pick_device
from vidiff.inference.tiles import on_grid
from vidiff.inference.trust import Budget, build, check_names, look_up, named
from vidiff.models.arguments import constructors, is_plain
from vidiff.models.module import VideoModule
from vidiff.models.record import AVERAGE, name_of, part_of, unlike
from vidiff.models.translation import translator
from vidiff.video.provenance import Origin
from vidiff.zoo import is_zoo, path_of


def load_model(
    path: str | Path, device: str | torch.device | None = None, trust: Sequence[str] = (), **overrides: Any
) -> VideoModule:
    """The model of a checkpoint, in eval mode, ready for `model.sample(n)`.

    A checkpoint is data: what it may name is a closed set, see `vidiff.inference.trust`.

    Args:
        path: a `.ckpt` of a run, or `zoo:NAME`: a trained model of the package (`vidiff zoo` lists them), which has no
            discriminator and whose raw weights are the averaged ones.
        device: where to put it; None: an accelerator where there is one, else the CPU.
        trust: modules of your own whose classes the checkpoint may name.
        overrides: constructor arguments that the file could not store (network factories made in Python), or others
            than it has: the sampling steps of a flow.

    Raises:
        UsageError, RunError: see `read_checkpoint`; or the file names what it may not, or does not fit together, or the
            model has no such argument.

    >>> model = vidiff.load_model("runs/dcgan/.../checkpoints/best.ckpt")   # doctest: +SKIP
    >>> model.sample(4, seed=1).shape                                       # doctest: +SKIP
    torch.Size([4, 3, 16, 32, 32])
    """
    device = pick_device(device)
    model = build_model(read_checkpoint(path), path, trust, overrides).to(device)
    model.loaded_from = {"name": Path(path).name, "sha256": sha256_of(path_of(path) if is_zoo(path) else Path(path))}
    return model


def origin_of(model: VideoModule, seed: int | None = None, **settings: Any) -> Origin:
    """What is said of the files that a model makes, see `vidiff.video.provenance`.

    Args:
        model: loaded by `load_model`, or made in Python, where no checkpoint is named.
        seed: of the latents.
        settings: what else the files depend on.
    """
    plain = {name: value for name, value in model.arguments.items() if is_plain(value)}
    configuration = {"class_path": name_of(type(model)), "init_args": plain, **settings}
    loaded = model.loaded_from
    return Origin(type(model).__name__, loaded.get("name", ""), loaded.get("sha256", ""), configuration, seed)


def build_model(
    content: dict[str, Any], path: str | Path, trust: Sequence[str] = (), overrides: dict[str, Any] | None = None
) -> VideoModule:
    """The model of what `read_checkpoint` gave, on the CPU, in eval mode; see `load_model`.

    Args:
        path: for messages.
    """
    try:
        model = _built(content, trust, overrides or {})
    except (UsageError, RunError) as error:
        raise type(error)(f"{path} cannot be used: {error}") from error
    except Exception as error:
        raise RunError(f"{path} cannot be used: its record does not make a model ({first_line(error)})") from error
    if content["vidiff"].get("statistics") == "measured":
        model.generator_ema.stale = False
    return model.eval().requires_grad_(False)


def _built(content: dict[str, Any], trust: Sequence[str], overrides: dict[str, Any]) -> VideoModule:
    record, state = content["vidiff"], content["state_dict"]
    check_names({k: record[k] for k in ("class_path", "init_args")}, trust)
    cls = look_up(record["class_path"], trust)
    if not (isinstance(cls, type) and issubclass(cls, VideoModule)):
        raise RunError(f"{record['class_path']} is no VideoModule")
    settings = {p.name for named in constructors(cls) for p in named}
    if unknown := [k for k in overrides if k not in settings]:
        raise UsageError(f"{cls.__name__} has no {', '.join(unknown)}")
    if missing := [k for k in record["not_stored"] if k not in overrides]:
        raise UsageError(f"it was trained with {', '.join(missing)} given in Python: pass the same to load_model")
    with Budget(4 * sum(v.numel() for v in state.values()) + 2**26, 50 * len(state) + 5_000):
        model = build(cls, {**record["init_args"], **overrides}, trust)
    expected = part_of(record, model.state_dict())
    if name := unlike(expected, state):
        want, have = (tuple(s[name].shape) if name in s else "missing" for s in (expected, state))
        raise RunError(f"its weights are not those of its record: {name} is {have}, {want} is expected")
    model.load_state_dict(state, strict=len(expected) == len(model.state_dict()))
    if record.get("holds") == AVERAGE:
        model._modules.pop("discriminator", None)  # untrained: nobody is to ask it
    model.data_record = record["data"]
    if not all(isinstance(name, str) for name in getattr(model, "domains", [])):
        raise RunError("its record is damaged: its domains have no names")
    return model


def load_like(model: VideoModule, path: str | Path) -> VideoModule:
    """`load_model` for a checkpoint of a training that is going on.

    The modules that its own configuration names are its user's program, and what it was given in Python is given again.
    """
    config = (model.config or {}).get("init_args", {})
    given = {k: v for k, v in model.arguments.items() if not is_plain(v) and not is_plain(config.get(k, v))}
    trust = {str(one["class_path"]).rpartition(".")[0] for one in named(config)} | {type(model).__module__}
    return load_model(path, model.device, sorted(trust - {""}), **given)


class CheckpointTranslation:
    """A trained translation as a function of clips, e.g. the `transform` of `vidiff.augment.ContentTransform`.

    Args:
        ckpt: a checkpoint of a model that translates.
        direction, target: see `Translator.pair`.
        device: where it runs; None: where the first clips are.
        trust: see `load_model`.

    Raises:
        UsageError, RunError: see `load_model` and `Translator.pair`.
    """

    def __init__(
        self,
        ckpt: str,
        direction: str | None = None,
        target: str | None = None,
        device: str | None = None,
        trust: Sequence[str] = (),
    ):
        self.model, self.device = translator(load_model(ckpt, device or "cpu", trust)), device
        self.pair = self.model.pair(direction, target)

    @torch.no_grad()
    def __call__(self, clips: Tensor) -> Tensor:
        """float (N, C, T, H, W) in [-1, 1], any T, H and W -> the same shape, device and precision."""
        if clips.shape[1] != (channels := self.model.spec.channels):
            raise UsageError(f"the translation's checkpoint takes {channels} channels, the clips have {clips.shape[1]}")
        if self.device is None and self.model.device != clips.device:
            self.model.to(clips.device)
        x = clips.to(self.model.device, self.model.dtype)
        return on_grid(x, self.model.mapping(*self.pair)).to(clips)
