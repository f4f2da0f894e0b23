"""Does a latent keep its clip when a model is trained again? `python docs/paired_latents.py OUT.png NAME=RUN,RUN ...`

Runs of one NAME are the same training with other seeds. All get the latents of the first; printed is the distance
between what two of them make of one latent, as a share of the distance between clips of different latents: 1 = the
latent says nothing of the clip, 0 = it says everything. OUT.png shows three frames of four latents, a row a run.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from figures import save_rows
from torch import Tensor

from vidiff.inference.checkpoint import load_model

CLIPS, SHOWN, LARGER = 64, 4, 2


def clips_of(runs: list[Path]) -> list[Tensor]:
    """What each run makes of the same latents, uint8 (CLIPS, C, T, H, W)."""
    models = [load_model(run / "checkpoints" / "best.ckpt", "cpu") for run in runs]
    for model in models:
        model.seed = models[0].seed  # the key of the latents
    return [model.sample(CLIPS) for model in models]


def distance(a: Tensor, b: Tensor) -> float:
    """Root mean square over the pixels of clips, mean over clips."""
    return float((a.float() - b.float()).square().flatten(1).mean(1).sqrt().mean())


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    blocks = []
    for name, _, runs in (word.partition("=") for word in words[1:]):
        clips = clips_of([Path(run) for run in runs.split(",")])
        pairs = list(combinations(clips, 2))
        same = [distance(a, b) for a, b in pairs]
        other = [distance(a, b.roll(shift, 0)) for a, b in pairs for shift in (1, 7, 19)]
        ratio = (sum(same) / len(same)) / (sum(other) / len(other))
        print(f"{name}: same latent {min(same):.1f} to {max(same):.1f}, others {np.mean(other):.1f}, ratio {ratio:.2f}")
        blocks.append([list(made[:SHOWN]) for made in clips])
    save_rows(words[0], blocks, LARGER)


if __name__ == "__main__":
    main(sys.argv[1:])
