"""The computed table of docs/recipes.md: operations, memory and parameters of a step, counted again."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidiff.inference.trust import build, look_up
from vidiff.models.turn import Turn
from vidiff.nn.blocks import count_parameters
from vidiff.nn.history import History
from vidiff.training.cli import resolved_config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
ROWS = re.findall(
    r"^\| `(\w+)` \| (\d+)x(\d+)x\3 \| (\d+) \| ([\d,.]+) \| ([\d,.]+) \| ([\d.]+) / ([\d.]+) \|$",
    PAGE.read_text(encoding="utf-8") if PAGE.exists() else "",
    re.MULTILINE,
)
CLIPS = 2


class Anywhere:
    """For a FlopCounterMode that does not ask in which module it is: gradients inside of a forward confuse it."""

    parents = frozenset({"Global"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def model_of(experiment: str, frames: int, resolution: int, width: int) -> nn.Module:
    config = yaml.safe_load(resolved_config(["fit", "--config", f"experiments/{experiment}.yaml"]))["model"]
    sizes = {"num_frames": frames, "resolution": resolution, "width": width}
    return build(look_up(config["class_path"]), config["init_args"] | sizes).to("meta")


def step_of(model: nn.Module, frames: int, resolution: int) -> tuple[float, float]:
    """FLOP (2 a multiplication with addition) and bytes kept for the backward pass of one turn each, a clip."""
    clip = torch.empty(CLIPS, 3, frames, resolution, resolution, device="meta")
    batch = {"clip": clip, "clip_a": clip, "clip_b": clip, "slot": torch.arange(CLIPS)}
    flop, most = 0, 0
    for player in "dg":
        for other, network in model.players.items():
            network.requires_grad_(other == player)
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor, kept=kept):
            if not (tensor.is_leaf and tensor.requires_grad):  # weights are there anyway
                storage = tensor.untyped_storage()
                kept[storage._cdata] = storage
            return tensor

        counter = FlopCounterMode(display=False)
        counter.mod_tracker = Anywhere()
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            turn = Turn(model, player, batch)
            losses = model.discriminator_losses if player == "d" else model.generator_losses
            torch.stack([term.reshape(()) for term in losses(turn).values()]).sum().backward()
        flop, most = flop + counter.get_total_flops(), max(most, sum(s.nbytes() for s in kept.values()))
    return flop / CLIPS, most / CLIPS


def number(text: str) -> float:
    return float(text.replace(",", ""))


SOME = [pytest.param(row, id="-".join(row[:4]), marks=[pytest.mark.slow] if int(row[2]) > 64 else []) for row in ROWS]


@pytest.mark.parametrize("row", SOME)
def test_a_row_of_the_table(row, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    monkeypatch.setattr(History, "exchange", lambda self, clips, slots, *key: clips.detach())  # keeps numbers
    experiment, (frames, resolution, width), printed = row[0], map(int, row[1:4]), [number(x) for x in row[4:]]
    model = model_of(experiment, frames, resolution, width)
    flop, kept = step_of(model, frames, resolution)
    counted = [flop / 1e9, kept / 1e6, *(count_parameters(model.players[p]) / 1e6 for p in "gd")]
    assert counted == pytest.approx(printed, rel=0.02, abs=0.01)


def test_there_is_such_a_table():
    assert len(ROWS) >= 8 and {"dcgan", "r3gan", "cyclegan"} <= {row[0] for row in ROWS}
