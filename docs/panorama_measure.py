"""Measures what docs/panoramas.md says of the models of the box: `python docs/panorama_measure.py`, two CPU-minutes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.data.shapes.scene import render_panorama
from vidiff.data.shapes.stereo import render_stereo, stereo_truth
from vidiff.flow import flow_method
from vidiff.inference.checkpoint import load_model
from vidiff.inference.translate import frame_translator
from vidiff.metrics.stereo import disparity_error, eye_error
from vidiff.sphere import seam_ratio, ws_psnr
from vidiff.video.remux import Change

FRAMES, HEIGHT = 4, 64
AROUND, EYES = range(200, 216), range(100, 116)  # scenes that no model of the box was trained on
MODELS = {
    ("zoo:cyclegan-day2night", "night"): dict(direction="a2b"),
    ("zoo:stargan-styles", "night"): dict(target="night"),
    ("zoo:stargan-styles", "sketch"): dict(target="sketch"),
}


def stacked(films: list[np.ndarray]) -> Tensor:
    return torch.stack([thwc_to_clip(film) for film in films])


def made(change: Change, films: list[np.ndarray]) -> Tensor:
    return stacked([np.stack(list(change(film))) for film in films])


def pooled(clips: Tensor) -> float:
    """The seam of all clips together: a column of one clip says little."""
    return float(seam_ratio(clips.transpose(0, 1).flatten(1, 2)[None])[0])


def seams() -> None:
    day = [render_panorama(0, scene, FRAMES, HEIGHT) for scene in AROUND]
    for (name, style), what in MODELS.items():
        truth = stacked([render_panorama(0, scene, FRAMES, HEIGHT, style) for scene in AROUND])
        print(f"{name} to {style}: seam of the day {pooled(stacked(day)):.2f}, of the truth {pooled(truth):.2f}")
        for projection in ("flat", "equirectangular"):
            fake = made(frame_translator(load_model(name, "cpu"), projection=projection, **what), day)
            worst = float(seam_ratio(fake).max())
            quality = float(ws_psnr(fake, truth).mean())
            print(f"  {projection}: seam {pooled(fake):.2f}, worst clip {worst:.2f}, WS-PSNR {quality:.2f} dB")


def eyes() -> None:
    day = [render_stereo(0, scene, "plain", FRAMES, HEIGHT) for scene in EYES]
    truth = torch.from_numpy(np.stack([stereo_truth(0, scene, FRAMES, HEIGHT) for scene in EYES]))
    dis = flow_method("dis")
    print(f"disparities: mean |d| {float(truth.abs().mean()):.2f} pixels of {HEIGHT}")
    for (name, style), what in MODELS.items():
        true = stacked([render_stereo(0, scene, style, FRAMES, HEIGHT) for scene in EYES])
        fake = made(frame_translator(load_model(name, "cpu"), stereo="left-right", **what), day)
        swapped = torch.cat(fake.chunk(2, dim=-1)[::-1], dim=-1)
        sides = {"true counterpart": true, "translation": fake, "its eyes exchanged": swapped}
        for label, clips in sides.items():
            error = float(disparity_error(clips, truth, dis).mean())
            apart = float(eye_error(clips, stacked(day), dis).mean())
            print(f"{name} to {style}, {label}: disparity error {error:.2f} pixels, eyes apart {apart:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    seams()
    eyes()
