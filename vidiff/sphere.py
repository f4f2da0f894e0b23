"""Clips all around: equirectangular, their left edge continues the right one, and a row counts by its latitude."""

from __future__ import annotations

import torch
from torch import Tensor


def latitude_weights(height: int) -> Tensor:
    """cos(latitude) of each row of an equirectangular picture, of mean 1, float32 (H,): the area that a pixel has on
    the sphere, as in WS-PSNR (Sun, Lu, Yu 2017)."""
    weights = torch.cos(torch.pi * ((torch.arange(height) + 0.5) / height - 0.5))
    return weights / weights.mean()


def wrap(x: Tensor, pad: int) -> Tensor:
    """(..., W) -> (..., W + 2 pad): the columns around the seam on the other side of it too; pad <= W."""
    return torch.cat([x[..., x.shape[-1] - pad :], x, x[..., :pad]], dim=-1) if pad else x


def seam_ratio(clips: Tensor) -> Tensor:
    """|first column - last column| over the mean |difference of neighboring columns|, both weighted by latitude, of
    clips (B, C, T, H, W) of any range -> (B,). About 1 where there is no seam; 0 / 0 counts as 1."""
    x = clips.float()
    weights = latitude_weights(x.shape[-2]).to(x.device)
    seam = ((x[..., 0] - x[..., -1]).abs() * weights).flatten(1).mean(1)
    inside = (x.diff(dim=-1).abs() * weights[:, None]).flatten(1).mean(1)
    return (seam + 1e-9) / (inside + 1e-9)


def ws_psnr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of uint8 equirectangular clips (B, C, T, H, W) in dB, at most 100, errors weighted by latitude (Sun, Lu, Yu
    2017, "Weighted-to-Spherically-Uniform Quality Evaluation for Omnidirectional Video") -> (B,)."""
    weights = latitude_weights(a.shape[-2]).to(a.device)[:, None]
    error = (((a.float() - b.float()) / 255.0).square() * weights).flatten(1).mean(1)
    return -10.0 * error.clamp_min(1e-10).log10()
