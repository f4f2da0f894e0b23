"""Measures between a clip and the clip it should be, and of a clip's own steadiness and grid; one value a clip."""

from __future__ import annotations

import torch
from torch import Tensor

from vidiff.clip import clip_to_frames, uint8_to_unit


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean |a - b| in [0, 1] of uint8 clips (B, C, T, H, W) -> (B,)."""
    return (uint8_to_unit(a) - uint8_to_unit(b)).abs().flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """-10 log10 of the mean squared difference in [0, 1] over the whole clip, in dB, at most 100 -> (B,)."""
    error = (uint8_to_unit(a) - uint8_to_unit(b)).square().flatten(1).mean(1)
    return -10.0 * error.clamp_min(1e-10).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004; 11 x 11 Gaussian window), mean over the clip's frames -> (B,)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    frames = [clip_to_frames(uint8_to_unit(x)) for x in (a, b)]
    values = structural_similarity_index_measure(*frames, data_range=1.0, reduction="none")  # (B*T,)
    return values.reshape(a.shape[0], -1).mean(1)


def flicker(clip: Tensor) -> Tensor:
    """Mean |x_{t-1} - 2 x_t + x_{t+1}| / 2 in [0, 1] of uint8 clips: 0 for what stands still or changes evenly -> (B,).

    NaN for clips of fewer than three frames.
    """
    if clip.shape[2] < 3:
        return torch.full((len(clip),), float("nan"))
    return 0.5 * uint8_to_unit(clip).diff(n=2, dim=2).abs().flatten(1).mean(1)


def nyquist_energy(clip: Tensor) -> Tensor:
    """Energy of uint8 clips at the highest frequencies a picture can hold, across or down, mean over frames -> (B,).

    |F(y)|^2 / (H W) of the brightness y in [0, 1], summed over the row and the column of the two-dimensional Fourier
    transform at half a cycle a pixel: large where neighbouring pixels alternate, as strided transposed convolutions
    leave them. NaN where a side is odd, which has no such frequency.
    """
    h, w = clip.shape[-2:]
    if h % 2 or w % 2:
        return torch.full((len(clip),), float("nan"))
    power = torch.fft.fft2(uint8_to_unit(clip).mean(1)).abs().square() / (h * w)  # (B, T, H, W)
    return (power[..., h // 2, :].sum(-1) + power[..., :, w // 2].sum(-1) - power[..., h // 2, w // 2]).mean(1)
