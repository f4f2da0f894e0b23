"""Trains small generators of panoramas, with and without networks that look across the seam, and measures the seam.

    python docs/panorama_train.py [SEEDS]

The two differ in one thing: left and right the control's networks see zeros. Drawn panoramas of 4 x 16 x 32, DCGAN of
width 16, 300 updates of 8 clips, a quarter of a CPU-minute a run; clips of latents that were not trained on.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from vidiff import keyed
from vidiff.clip import thwc_to_clip, uint8_to_unit, unit_to_signed
from vidiff.data.shapes.scene import render_panorama
from vidiff.models import base
from vidiff.models.dcgan import DCGAN
from vidiff.nn.circular import projected
from vidiff.sphere import seam_ratio

SCENES, FRAMES, HEIGHT, STEPS, BATCH, CLIPS = 96, 4, 16, 300, 8, 256


def pooled(clips: Tensor) -> float:
    return float(seam_ratio(clips.transpose(0, 1).flatten(1, 2)[None])[0])


def trained(seed: int, around: bool, real: Tensor) -> DCGAN:
    base.projected = projected if around else lambda network, projection, each_eye=True: network
    sizes = dict(num_frames=FRAMES, resolution=HEIGHT, projection="equirectangular")
    model = DCGAN(width=16, latent_dim=32, seed=seed, ema_decay=0.98, **sizes)

    def batches():
        for step in range(STEPS + 1):
            slots = torch.arange(step * BATCH, (step + 1) * BATCH)
            yield {"clip": real[keyed.integers(slots, len(real), seed, "order")], "slot": slots}

    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    Trainer(max_steps=STEPS, accelerator="cpu", devices=1, **quiet).fit(model, batches())
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    films = [render_panorama(0, scene, FRAMES, HEIGHT) for scene in range(SCENES)]
    # Each turned by a drawn angle: a panorama has no preferred direction.
    turns = np.random.default_rng(0).integers(0, 2 * HEIGHT, SCENES)
    clips = torch.stack([thwc_to_clip(np.roll(film, turn, 2)) for film, turn in zip(films, turns)])
    print(f"drawn: seam {pooled(clips):.2f}", flush=True)
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for around in (True, False):
            made = trained(seed, around, unit_to_signed(uint8_to_unit(clips))).sample(CLIPS, seed=7)
            print(f"seed {seed}, {'circular' if around else 'flat'}: seam {pooled(made):.2f}", flush=True)
