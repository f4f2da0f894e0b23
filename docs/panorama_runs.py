"""Trains what docs/panoramas.md shows, with and without networks that look across the seam, and measures the seam.

    python docs/panorama_runs.py FOLDER --what generation --seeds 3

Every run is `vidiff fit` with the options below; the control differs in one thing: its networks see zeros, or the
repeated border, left and right. Clips, from latents and videos that were not trained on, are measured before any codec.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import vidiff
from vidiff.cli import main
from vidiff.files import write_json
from vidiff.models import base
from vidiff.nn.circular import projected
from vidiff.sphere import seam_ratio, ws_psnr

COMMON = ["--data.projection", "equirectangular", "--data.num_workers", "0", "--trainer.accelerator", "cpu"]
COMMON += ["--data.num_frames", "8", "--evaluation.num_clips", "16", "--evaluation.every_n_steps", "100000"]
COMMON += ["--evaluation.metrics", "motion,seam", "--trainer.enable_progress_bar", "false"]
RUNS = {
    "generation": ["experiments/dcgan.yaml", "--model.width", "16", "--data.batch_size", "8"],
    "translation": ["experiments/cyclegan.yaml"],
}
STEPS = {"generation": 200, "translation": 40}
CLIPS = 64


def clips_of(what: str, checkpoint: Path, data: Path) -> tuple[Tensor, Tensor | None]:
    """Clips that a model makes, uint8 (N, C, T, H, W), and their true counterparts where there are any."""
    model = vidiff.load_model(checkpoint, "cpu")
    if what == "generation":
        return model.sample(CLIPS, seed=7), None
    from vidiff.data.domains import PairDataModule

    pairs = PairDataModule(data, num_frames=8, resolution=32, num_workers=0, projection="equirectangular")
    batches = list(pairs.eval_batches("test", 32, seed=7, batch_size=8, paired=True))
    made = [model.translate(batch["clip"], 0, 1) for batch in batches]
    return torch.cat(made), torch.cat([batch["truth"] for batch in batches])


def ratio_of_means(clips: Tensor) -> float:
    """The seam of all clips together: few columns of one clip say little."""
    return float(seam_ratio(clips.transpose(0, 1).flatten(1, 2)[None])[0])


def measured(what: str, folder: Path, data: Path) -> dict[str, float]:
    made, truth = clips_of(what, folder / "checkpoints" / "last.ckpt", data)
    torch.save(made[:16], folder / "clips.pt")
    found = {"seam": ratio_of_means(made)}
    if truth is not None:
        found |= {"ws_psnr": float(ws_psnr(made, truth).mean()), "true_seam": ratio_of_means(truth)}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", choices=list(RUNS), default="generation")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    styles = ["plain"] if given.what == "generation" else ["plain", "night"]
    data = given.folder / f"{given.what}_data"
    make = ["data", "make", "--projection", "equirectangular", "--resolution", "32", "--num_frames", "16"]
    assert main([*make, "--output", str(data), "--num_videos", "120", "--styles", *styles]) == 0
    results = given.folder / f"{given.what}.json"
    table = json.loads(results.read_text()) if results.exists() else {}
    for seed in range(given.seeds):
        for kind in ("circular", "flat"):
            if f"{kind} {seed}" in table:
                continue
            base.projected = projected if kind == "circular" else lambda network, projection: network
            run = given.folder / f"{given.what}-{kind}-{seed}"
            options = ["--trainer.max_steps", str(STEPS[given.what]), "--seed_everything", str(seed)]
            words = ["fit", "--config", *RUNS[given.what], *COMMON, "--data.root", str(data), *options]
            assert main([*words, "--run_dir", str(run)]) == 0
            table[f"{kind} {seed}"] = measured(given.what, run, data)
            print(kind, seed, table[f"{kind} {seed}"], flush=True)
            write_json(results, table)
