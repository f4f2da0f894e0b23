"""Every family trained by two processes with B clips each and by one with 2 B, in float64: all of its state is equal.

`pytest -m slow tests/models/test_two_processes.py -s -k largest` prints the table of docs/cluster.md.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch
from helpers import GAMES, TINY, Anything, quiet_trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

from vidiff import keyed
from vidiff.augment import AdaptiveAugment
from vidiff.models import families
from vidiff.parallel import GameStrategy

STEPS, CLIPS = 3, 8  # of the global batch
SIZES = TINY | {"num_frames": 8, "num_classes": 2}
# A history that is full after a step; noise that networks draw inside is each process's own.
SMALLER = {"pool_size": 5, "judge_noise": 0.0}
TOLERANCE = 1e-11  # float64 after three steps of SGD
# Equal to 1e-17 after one step; from the second on, what rounding leaves is larger than elsewhere, and float64's still.
LOOSER = {"Restoration": 1e-9}


class Pairs(Anything):
    """As `Anything`, the second domain a function of the slots too."""

    def batch(self, index, rank=0, world=1):
        batch = super().batch(index, rank, world)
        clips = keyed.normal(batch["slot"].tolist(), tuple(batch["clip"].shape[1:]), "b").clamp(-1, 1)
        return batch | {"clip_b": clips}


class Numbered(LightningEnvironment):
    """A process that is there already: Lightning has to start none."""

    creates_processes_externally, main_port = True, 0

    def __init__(self, number: int, port: int):
        super().__init__()
        self.number, self.main_port = number, port

    def local_rank(self) -> int:
        return self.number


def model_of(family: str) -> torch.nn.Module:
    # SGD, because Adam hides a wrong scale of the gradients.
    sgd = lambda p: torch.optim.SGD(p, lr=0.01)  # noqa: E731
    kind = families()[family]
    more = {name: value for name, value in SMALLER.items() if name in inspect.signature(kind).parameters}
    if family in GAMES:
        more |= dict(optimizer_d=sgd, discriminator_augment=AdaptiveAugment(interval=1, clips=40, start=0.5))
    return kind(optimizer_g=sgd, **SIZES, **more).double()


def member(family: str, out: Path, world: int, rank: int, port: int) -> None:
    """One process of a training; saves its state before and after."""
    torch.set_num_threads(1)
    model = model_of(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    more = dict(devices=world, strategy=GameStrategy(), plugins=[Numbered(rank, port)]) if world > 1 else {}
    trainer = quiet_trainer(max_steps=STEPS, precision="64-true", sync_batchnorm=True, **more)
    trainer.fit(model, Pairs(CLIPS // world, num_classes=2, num_frames=SIZES["num_frames"]))
    torch.save((before, model.state_dict()), out / f"{world}.{rank}")


def train(family: str, out: Path, world: int) -> list[tuple[dict, dict]]:
    """(state before, state after) of each process; forked, for the imports take longer than the training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    members = [context.Process(target=member, args=(family, out, world, rank, port)) for rank in range(world)]
    for process in members:
        process.start()
    for process in members:
        process.join()
    assert [process.exitcode for process in members] == [0] * world
    return [torch.load(out / f"{world}.{rank}", weights_only=True) for rank in range(world)]


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("family", sorted(families()))
def test_the_largest_difference_from_one_process(family, tmp_path):
    ((start, one),) = train(family, tmp_path, 1)
    (_, first), (_, second) = train(family, tmp_path, 2)
    between, moved = apart(one, first), apart(start, one)
    print(f"\n| {family} | " + " | ".join(f"{between[p]:.0e}" for p in between) + f" | {moved['weights']:.0e} |")
    assert max(apart(first, second).values()) == 0.0
    assert max(between.values()) < LOOSER.get(family, TOLERANCE)
    assert moved["weights"] > 1e-4 and moved["average"] > 1e-6
    assert moved["buffers"] > 0 or family not in GAMES  # ADA's


def test_states_that_differ_are_told_apart():
    """The comparison can fail: another value, another shape, a missing tensor."""
    a = {"generator.w": torch.zeros(2), "generator_ema.w": torch.zeros(1), "history.n": torch.tensor(3)}
    assert apart(a, a) == {"weights": 0.0, "average": 0.0, "buffers": 0.0}
    assert apart(a, a | {"generator.w": torch.tensor([0.0, 0.5])})["weights"] == 0.5
    assert apart(a, a | {"generator_ema.w": torch.zeros(2)})["average"] == float("inf")
    assert apart(a, {k: v for k, v in a.items() if k != "history.n"})["buffers"] == float("inf")
