"""What a `VideoModule` refuses: at construction, when a training begins, and while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm

from vidiff.errors import UsageError, at_least
from vidiff.models.allocator import keep_memory
from vidiff.models.updates import parts_of
from vidiff.nn.blocks import GROUP, mixes_clips
from vidiff.nn.recompute import blocks_of
from vidiff.parallel import GameStrategy


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse what no training can use.

    Args:
        arguments: what the module was built with, by name; no float in it may be infinite or NaN.

    Raises:
        UsageError: naming the argument, its value and what is accepted.
    """
    for name, value in arguments.items():
        if bad := [x for x in _floats(value) if not math.isfinite(x)]:
            raise UsageError(f"model.{name} must be finite, got {bad[0]}")
    counts = ("n_critic", "g_steps", "accumulate", "width", "num_frames", "latent_dim", "num_classes")
    at_least(1, **{f"model.{name}": arguments.get(name) for name in counts})
    for name in ("ema_half_life", "clip_grad_norm"):
        if (value := arguments.get(name)) is not None and not value > 0:
            raise UsageError(f"model.{name} must be above 0 (null: none), got {value}")
    if not 0.0 <= arguments.get("ema_decay", 0.0) < 1.0:
        raise UsageError(f"model.ema_decay must be in [0, 1), got {arguments['ema_decay']}")


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict | list | tuple):
        return [x for v in (value.values() if isinstance(value, dict) else value) for x in _floats(v)]
    return [value] if isinstance(value, float) else []


def check_penalty(family: str, discriminator: nn.Module, through: Sequence[str]) -> None:
    """See `AdversarialModule.check_penalty`; `through` is its `penalty_through`."""
    if mixing := [what for what in mixes_clips(discriminator) if what not in through]:
        raise UsageError(
            f"{family}: the gradient penalty is per clip and has no meaning through {mixing[0]}; give the "
            "discriminator norm: layer, instance or none, and no minibatch_std, or set the penalty's weight to 0 where "
            "the family can do without"
        )


def check_parts(model: Any, clips: int) -> None:
    """Refuse `accumulate` where a step in parts is not the step of the batch.

    Args:
        clips: of the batch of this process.

    Raises:
        UsageError: the parts would not be equal, or something is of a whole batch.
    """
    if (parts := model.accumulate) == 1:
        return
    if clips % parts:
        raise UsageError(f"model.accumulate {parts} has to divide the batch of {clips} clips (data.batch_size)")
    if without := model.of_the_batch:
        raise UsageError(
            f"model.accumulate: {type(model).__name__} has a loss that is no mean over the clips of a batch; "
            f"set {' and '.join(without)}"
        )
    for name, network in zip(("generator", "discriminator"), model.players.values()):
        mixing = mixes_clips(network)
        if "BatchNorm" in mixing:
            raise UsageError(
                f"model.accumulate: the {name} has BatchNorm, whose statistics are of the whole batch; give it norm: "
                "layer, instance or none, as experiments/_layer_norm.yaml does"
            )
        if mixing and clips // parts % GROUP:
            raise UsageError(
                f"model.accumulate {parts}: the {name} compares groups of {GROUP} clips (minibatch_std), so that each "
                f"part has to hold a multiple of {GROUP}, not {clips // parts}"
            )
    if any(isinstance(m, _SpectralNorm) for m in model.generator.modules()):
        raise UsageError("model.accumulate: spectral norm in the generator would move on with each part; leave it out")


def prepare_training(model: Any) -> None:
    """`check_strategy`, `check_recompute` and the model's `check_shape`; on a CPU, memory that is freed is kept, see
    `keep_memory`."""
    check_strategy(model.trainer)
    check_recompute(model)
    model.check_shape()
    if model.trainer.strategy.root_device.type == "cpu":
        keep_memory()


def check_recompute(model: Any) -> None:
    """Refuse `recompute` where it would do nothing, and beside `compile`, which decides by itself what is kept."""
    if not model.recompute:
        return
    if model.compile_networks:
        raise UsageError("model.recompute: with model.compile the compiler decides what is kept; give one of the two")
    if not blocks_of(model.generator):
        raise UsageError(
            f"model.recompute: {type(model).__name__}'s generator has no blocks that can be run again: parts whose "
            "class has `recomputed = True`, as vidiff.nn.clip_layers.ResidualBlock has"
        )


def _keeps_shape(model: Any) -> bool:
    """Whether the networks are of flat clips, or translate, which keeps the shape."""
    return model.spec.projection == "flat" or hasattr(model, "num_domains")


def check_generator(model: Any) -> None:
    """Refuse a generator of clips that cannot make the shape that its data has, before any data is read.

    Raises:
        UsageError: its clips are square, and those of a panorama are not.
    """
    spec = model.spec
    height, width = spec.resolution, spec.aspect * spec.resolution
    if spec.projection == "stereo" and not hasattr(model, "num_domains"):
        raise UsageError(f"data.projection stereo: {type(model).__name__} makes clips; two eyes are for translations")
    if _keeps_shape(model):
        return
    with torch.random.fork_rng(), model.sampler.network(ema=False) as network:
        shape = model.synthesize(network, [0], 0, model.sampler.labels([0]), None).shape[-2:]
    if tuple(shape) != (height, width):
        raise UsageError(
            f"data.projection {spec.projection} needs clips of {height} x {width}, the generator of "
            f"{type(model).__name__} makes {shape[0]} x {shape[1]}; that of experiments/dcgan.yaml can"
        )


def check_discriminator(model: Any) -> None:
    """Refuse a discriminator of clips that cannot judge the shape that its data has, before any data is read.

    Raises:
        UsageError: it takes square clips, and those of a panorama are not.
    """
    if _keeps_shape(model):
        return
    spec = model.spec
    height, width = spec.resolution, spec.aspect * spec.resolution
    clips = torch.zeros(2, spec.channels, spec.num_frames, height, width, device=model.device, dtype=model.dtype)
    modes = {part: part.training for part in model.discriminator.modules()}
    try:
        with torch.no_grad():
            model.discriminator.eval()
            model.discriminate(clips, model.sampler.labels([0, 1]))
    except (RuntimeError, IndexError) as error:
        raise UsageError(
            f"data.projection {spec.projection} has clips of {height} x {width}, and the discriminator of "
            f"{type(model).__name__} takes square ones; that of experiments/dcgan.yaml can"
        ) from error
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_strategy(trainer: Trainer) -> None:
    """Refuse Lightning's own DDP, which expects every backward to reach every parameter."""
    if isinstance(trainer.strategy, DDPStrategy) and not isinstance(trainer.strategy, GameStrategy):
        if not trainer.strategy._ddp_kwargs.get("find_unused_parameters"):
            raise UsageError(
                "in this module each backward reaches one player: Trainer(strategy=vidiff.parallel.GameStrategy())"
            )


def compile_all(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile networks in place, or each of the parts that they only hold.

    Raises:
        UsageError: torch.compile does not work on this machine, as one addition shows before the training begins.
    """
    try:
        torch.compile(lambda x: x + 1.0)(torch.zeros(2, device=device))
    except Exception as error:
        why = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise UsageError(
            f"model.compile: torch.compile does not work here ({why}): install g++, or leave it out"
        ) from error
    for network in networks:
        for part in parts_of(network):
            part.compile()


def check_precision(trainer: Trainer) -> None:
    """Refuse half precision where it is broken.

    On a CPU, oneDNN's bfloat16 kernels (AVX-512) write past their buffers in the weight gradient of 3-D convolutions
    whose kernel is longer than the clip: 1e24 to NaN in the layer, or a crash. Half precision is no faster there. The
    native kernels are right: `torch.backends.mkldnn.flags(enabled=False)` is let through.

    Raises:
        UsageError: for bf16-mixed and 16-mixed (which Lightning runs as bf16) on a CPU, and for pure half precision.
    """
    precision = str(trainer.precision)
    if precision in ("32-true", "64-true"):
        return
    if not precision.endswith("-mixed"):
        raise UsageError(
            f"trainer.precision {precision} would round the weights and their moving average to so few bits that most "
            "updates are lost: use 32-true, or bf16-mixed on a GPU"
        )
    if trainer.strategy.root_device.type == "cpu" and torch.backends.mkldnn.enabled:
        raise UsageError(
            f"trainer.precision {precision} does not work on a CPU: its kernels return wrong gradients for some 3-D "
            "convolutions (and are no faster): use 32-true"
        )
