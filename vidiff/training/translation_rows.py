"""What is measured of each translated clip, against its source and, where there is one, its true counterpart."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vidiff.clip import thwc_to_clip
from vidiff.flow import flow_method
from vidiff.metrics.classical import has_opencv
from vidiff.metrics.gather import gathered_means
from vidiff.metrics.paired import flicker, grid_peak, l1, nyquist_energy, psnr, ssim
from vidiff.metrics.position import position_error
from vidiff.metrics.stereo import eye_error
from vidiff.models.translation import Translator
from vidiff.sphere import seam_ratio, ws_psnr
from vidiff.training.probes import Probes
from vidiff.video.pyav import PyAVReader
from vidiff.video.write import write_mp4

ROWS = (
    *("psnr", "ssim", "identity_psnr", "identity_ssim", "oracle_psnr", "oracle_ssim"),
    *("cycle_l1", "cycle_psnr", "cycle_ssim", "flicker", "flicker_source", "nyquist", "true_nyquist"),
    *("change", "true_change", "grid", "source_grid"),
    *("ws_psnr", "identity_ws_psnr", "seam", "source_seam"),  # of panoramas
    *("eyes", "source_eyes", "true_eyes"),  # of two eyes
    *("target_accuracy", "position_error", "identity_position_error", "oracle_position_error"),
)
PROTOCOL = {
    "paired": "psnr, ssim: uint8 / 255, whole clip and mean over frames, mean over clips",
    "gain": "psnr, ssim minus those of the untranslated clip",
    "oracle": "the true counterpart through H.264 (crf 18) and back",
    "flicker": "mean |second temporal difference| / 2 in [0, 1]",
    "ws_psnr": "of panoramas: psnr, errors weighted by the cosine of their latitude",
    "seam": "of panoramas: |first - last column| over the mean difference of neighboring columns, by latitude",
    "eyes": "of two eyes: mean |right - warped left| in [0, 1], warp and mask by the source's disparity (DIS)",
    "nyquist_ratio": "energy at half a cycle a pixel, translation over true counterpart: a grid if above 1",
    "position": "distance in pixels of the clip between the renderer's sprite centres in the source and "
    "the highest peaks (as many as sprites, better assignment in each frame) of the regressor's heat map "
    "on the translation; mean over sprites, frames, clips",
}


class Sources(NamedTuple):
    """A batch of clips to translate.

    Args:
        ids: int64 (B,).
        clips: uint8 (B, C, T, H, W).
        truth: their true counterparts, where there are any.
        positions: where the sprites are in `clips`, (B, T, 2, 2), where that is known.
        pair: (source, target) domain.
    """

    ids: Tensor
    clips: Tensor
    truth: Tensor | None
    positions: Tensor | None
    pair: tuple[int, int]


def row_of(model: Translator, batch: Sources, fake: Tensor, probes: Probes | None) -> Tensor:
    """Everything in ROWS of each clip, float32 (B, len(ROWS)) on the CPU; NaN is what is not known.

    Args:
        model: made `fake`.
        batch: what was translated.
        fake: the translations, uint8 (B, C, T, H, W).
        probes: for the report: their answers, the way back, and the oracle are measured as well.
    """
    clips, truth = batch.clips, batch.truth
    row = {"flicker": flicker(fake), "flicker_source": flicker(clips)}
    row |= {"change": l1(fake, clips), "grid": grid_peak(fake), "source_grid": grid_peak(clips)}
    compared = {"": fake, "identity_": clips}
    around = model.spec.projection == "equirectangular"
    if around:
        row |= {"seam": seam_ratio(fake), "source_seam": seam_ratio(clips)}
    if model.spec.projection == "stereo" and has_opencv():
        sides = {"": fake, "source_": clips} | ({} if truth is None else {"true_": truth})
        row |= {f"{name}eyes": eye_error(clip, clips, flow_method("dis")) for name, clip in sides.items()}
    if truth is not None:
        if probes is not None:
            compared["oracle_"] = reencode(truth)
        row |= {f"{name}psnr": psnr(clip, truth) for name, clip in compared.items()}
        row |= {f"{name}ssim": ssim(clip, truth) for name, clip in compared.items()}
        row |= {f"{n}ws_psnr": ws_psnr(compared[n], truth) for n in (("", "identity_") if around else ())}
        row |= {"nyquist": nyquist_energy(fake), "true_nyquist": nyquist_energy(truth), "true_change": l1(clips, truth)}
    if probes is not None:
        source, target = batch.pair
        cycle = model.translate(fake, target, source)
        row |= {"cycle_l1": l1(cycle, clips), "cycle_psnr": psnr(cycle, clips), "cycle_ssim": ssim(cycle, clips)}
        row["target_accuracy"] = (probes.classifier.classify(fake) == target).float()
        if probes.regressor is not None and batch.positions is not None:
            for name, clip in compared.items():
                row[f"{name}position_error"] = position_error(probes.regressor.locate(clip), batch.positions)
    unknown = torch.full((len(batch.ids),), math.nan)
    return torch.stack([row.get(name, unknown).float().cpu() for name in ROWS], dim=1)


def means(table: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Means over the clips of all processes of what was measured; what has no value is left out.

    Args:
        table: (ids, rows) of each batch, see `row_of`.
    """
    values = gathered_means(ROWS, table)
    out = {name: value for name, value in values.items() if not math.isnan(value)}
    if "flicker" in out:
        out["flicker_difference"] = out["flicker"] - out["flicker_source"]
        out["flicker_ratio"] = out["flicker"] / max(out["flicker_source"], 1e-6)
    if "grid" in out:
        out["grid_ratio"] = out["grid"] / max(out["source_grid"], 1e-6)
    if "nyquist" in out:
        out["nyquist_ratio"] = out["nyquist"] / max(out["true_nyquist"], 1e-12)
    for name in ("psnr", "ssim"):
        if name in out:
            out[f"{name}_gain"] = out[name] - out[f"identity_{name}"]
    return out


def reencode(clips: Tensor) -> Tensor:
    """uint8 clips (B, C, T, H, W) through H.264 and decoded: the bound of translations that are written to files."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            path = Path(folder) / "clip.mp4"
            write_mp4(path, clip)
            frames = PyAVReader(path).read(range(clip.shape[1]))[:, : clip.shape[2], : clip.shape[3]]
            decoded = thwc_to_clip(frames)
            if clip.shape[0] == 1:
                decoded = decoded.float().mean(0, keepdim=True).round().to(torch.uint8)
            out.append(decoded)
    return torch.stack(out)
