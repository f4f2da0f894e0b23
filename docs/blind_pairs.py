"""Six pairs to judge blindly: `python docs/blind_pairs.py RUN OUTPUT.png` for the folder of a run of a restoration.

Each row is a damaged held-out scene (three of its frames) and, left and right in an order drawn by chance, what the
first stage (pixel.ckpt) and the whole training (best.ckpt) made of it. Which is which is in OUTPUT.json: write your
choices down first. `--swap SEED` draws another order.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vidiff import keyed
from vidiff.clip import clip_to_thwc
from vidiff.inference.checkpoint import load_model
from vidiff.inference.detector_clips import scenes
from vidiff.models.restorer import CLEAN, DEGRADED

PAIRS, SHOWN, SEED, LARGER = 6, (1, 3, 5), 9001, 5
GAP = 8  # pixels, before they are enlarged


def strip(clip: torch.Tensor) -> np.ndarray:
    """Some frames of a clip uint8 (C, T, H, W) side by side."""
    return np.concatenate([clip_to_thwc(clip)[t] for t in SHOWN], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--swap", type=int, default=0)
    given = parser.parse_args()
    stages = {n: load_model(given.run / "checkpoints" / f"{n}.ckpt", "cpu") for n in ("pixel", "best")}
    spec = stages["best"].spec
    size = (spec.num_frames, spec.resolution, spec.resolution)
    truth = torch.cat([scenes("plain", [n], SEED, size) for n in range(PAIRS)])
    damaged = stages["best"].degrade(truth, list(range(PAIRS)), "blind", SEED)
    made = {name: model.translate(damaged, DEGRADED, CLEAN) for name, model in stages.items()}
    draw, rows, key = keyed.generator(given.swap, "blind"), [], []
    for n in range(PAIRS):
        order = ["pixel", "best"] if torch.rand((), generator=draw) < 0.5 else ["best", "pixel"]
        key.append({"pair": n + 1, "left": order[0], "right": order[1]})
        cells = [strip(damaged[n]), *(strip(made[name][n]) for name in order)]
        gap = np.full((cells[0].shape[0], GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([cells[0], gap, cells[1], gap, cells[2]], axis=1))
        rows.append(np.full((GAP, rows[0].shape[1], 3), 255, np.uint8))
    picture = np.concatenate(rows).repeat(LARGER, 0).repeat(LARGER, 1)
    Image.fromarray(picture).save(given.output)
    given.output.with_suffix(".json").write_text(json.dumps(key, indent=2) + "\n")


if __name__ == "__main__":
    main()
