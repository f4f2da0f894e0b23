"""What is measured of restored clips against the clips that were damaged, beside methods that have learned nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vidiff.metrics.classical import STRENGTHS, has_opencv, inpainted, non_local_means
from vidiff.metrics.gather import gathered_means
from vidiff.metrics.paired import flicker, gradient_energy, psnr, ssim, temporal_error
from vidiff.sphere import ws_psnr

ROW = ("psnr", "ssim", "temporal_error", "flicker", "flicker_true", "energy", "energy_true", "ws_psnr")
PROTOCOL = {
    "paired": "psnr, ssim: uint8 / 255, whole clip and mean over frames, mean over clips",
    "ws_psnr": "of panoramas: psnr, errors weighted by the cosine of their latitude",
    "gain": "psnr, ssim minus those of the damaged clip",
    "temporal_error": "mean |difference of frames minus that of the true clip| in [0, 1]",
    "sharpness": "mean squared difference of neighboring pixels over that of the true clips; 1 is right",
    "flicker_ratio": "mean |second temporal difference| over that of the true clips; 1 is right",
    "non_local_means": "OpenCV, colored, 7 and 21 pixels, the strength of the best PSNR on these clips",
    "inpainting": "OpenCV, Telea, radius 3, told which pixels are lost; where at most half of them are",
}


def row_of(clips: Tensor, truth: Tensor, around: bool = False) -> Tensor:
    """Everything in ROW of uint8 clips (B, C, T, H, W) against what they should be, (B, len(ROW)) on the CPU; NaN is
    what is measured of panoramas alone, `around`."""
    sphere = ws_psnr(clips, truth) if around else torch.full((len(clips),), math.nan)
    values = psnr(clips, truth), ssim(clips, truth), temporal_error(clips, truth), flicker(clips), flicker(truth)
    return torch.stack(
        [v.float().cpu() for v in (*values, gradient_energy(clips), gradient_energy(truth), sphere)], dim=1
    )


def classical(damaged: Tensor, truth: Tensor) -> Iterator[tuple[str, Tensor]]:
    """(name, clips) of every classical method that can be used; of non-local means one a strength, `nlm@9`.

    None where nothing is damaged: an autoencoder has nothing to repair.
    """
    if not has_opencv() or torch.equal(damaged, truth):
        return
    for strength in STRENGTHS:
        yield f"non_local_means@{strength}", non_local_means(damaged, strength)
        if damaged.shape[2] > 2:
            yield f"video_non_local_means@{strength}", non_local_means(damaged, strength, frames=5)
    lost = (damaged != truth).any(1)  # (B, T, H, W)
    if float(lost.float().mean()) <= 0.5:
        yield "inpainting", inpainted(damaged, lost)


def means(table: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the clips of all processes, and the ratios that are made of them; what has no value is left out.

    Args:
        table: (ids, rows) of each batch, see `row_of`.
    """
    mean = gathered_means(ROW, table)
    out = {name: mean[name] for name in ("psnr", "ssim", "temporal_error", "flicker")}
    out["ws_psnr"] = mean["ws_psnr"]
    out["flicker_ratio"] = mean["flicker"] / max(mean["flicker_true"], 1e-6)
    out["sharpness"] = mean["energy"] / max(mean["energy_true"], 1e-9)
    return {name: value for name, value in out.items() if not math.isnan(value)}


def strongest(methods: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of methods with a strength (`name@9`) the one of the best PSNR, as `name`, its strength beside its values."""
    out: dict[str, dict[str, float]] = {}
    for label, values in methods.items():
        name, _, strength = label.partition("@")
        found = values | ({"strength": float(strength)} if strength else {})
        if name not in out or found["psnr"] > out[name]["psnr"]:
            out[name] = found
    return out
