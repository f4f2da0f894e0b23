"""Each kind of damage by itself: `python docs/restoration_table.py RUN` for the folder of a run of a restoration.

A row is a kind that the model learned to undo, done to the same held-out clips (those that it leaves as they are are
not counted): PSNR and SSIM of the damaged clips, of the best classical method, of the first stage (pixel.ckpt) and of
the whole training (best.ckpt). Of both stages also the sharpness, the share of the true clip's detail that came back
(`detail`) and the share of the damage that is still there (`left`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from vidiff.augment.degrade import Degradation, LowResolution, OneOf, degrade
from vidiff.clip import uint8_to_unit
from vidiff.inference.checkpoint import load_model
from vidiff.inference.finished_run import FinishedRun
from vidiff.models.restorer import CLEAN, DEGRADED, in_words
from vidiff.training.restoration_rows import classical, means, row_of

SEED = 77
HEAD = ("damage", "clips", "damaged", "classical", "first stage", "network", "sharpness", "detail", "left")


def kinds(operators: list[Degradation]) -> dict[str, Degradation]:
    """Every kind of damage by its name."""
    found = {}
    for op in operators:
        for one in op.degradations if isinstance(op, OneOf) else [op]:
            found[in_words(one) + (f" 1/{one.factor}" if isinstance(one, LowResolution) else "")] = one
    return found


def gradients(clips: Tensor) -> Tensor:
    """Differences of neighboring pixels of uint8 clips, across and down, (N,)."""
    return torch.cat([clips.double().diff(dim=d).flatten() for d in (-1, -2)])


def detail(clips: Tensor, truth: Tensor) -> float:
    """<grad G(y), grad x> / |grad x|^2: 1 = all of it; noise of its own changes nothing, other than of `sharpness`."""
    true = gradients(truth)
    return float(gradients(clips) @ true / (true @ true))


def left(clips: Tensor, damaged: Tensor, truth: Tensor) -> float:
    """<G(y) - x, y - x> / |y - x|^2: 1 where nothing was undone, 0 where nothing is left."""
    error, damage = ((c.double() - truth.double()).flatten() for c in (clips, damaged))
    return float(error @ damage / (damage @ damage))


def cells(values: dict[str, float]) -> str:
    return f"{values['psnr']:.2f} / {values['ssim']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--num_clips", type=int, default=24)
    given = parser.parse_args()
    stages = {n: load_model(given.run / "checkpoints" / f"{n}.ckpt", "cpu") for n in ("pixel", "best")}
    data = FinishedRun(given.run).data
    data.prepare_data()
    data.setup("test")
    truth = torch.cat([clips for _, clips, _ in data.eval_clips("test", given.num_clips, SEED)])
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for name, op in kinds(stages["best"].degradations).items():
        damaged = degrade(uint8_to_unit(truth), [op], range(len(truth)), "table", SEED)
        damaged = (damaged * 255).round().to(torch.uint8)
        hurt = (damaged != truth).flatten(1).any(1)
        true, damaged = truth[hurt], damaged[hurt]

        def row(clips: Tensor, true: Tensor = true) -> dict[str, float]:
            return means([(torch.arange(len(true)), row_of(clips, true))])

        others = {n: row(clips) for n, clips in classical(damaged, true)}
        best = max(others, key=lambda n: others[n]["psnr"])
        made = [model.translate(damaged, DEGRADED, CLEAN) for model in stages.values()]
        nets = [row(clips) for clips in made]
        shown = [name, str(len(true)), cells(row(damaged)), f"{cells(others[best])} ({best.replace('_', ' ')})"]
        shown += [cells(values) for values in nets]
        for pair in (
            [values["sharpness"] for values in nets],
            [detail(clips, true) for clips in made],
            [left(clips, damaged, true) for clips in made],
        ):
            shown.append(" / ".join(f"{value:.3f}" for value in pair))
        print("| " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
