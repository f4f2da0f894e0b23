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


def temporal_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean |(a_{t+1} - a_t) - (b_{t+1} - b_t)| in [0, 1] of uint8 clips: 0 for what moves and stands still as b does,
    whatever its colors -> (B,). NaN for clips of one frame."""
    if a.shape[2] < 2:
        return torch.full((len(a),), float("nan"))
    return (uint8_to_unit(a).diff(dim=2) - uint8_to_unit(b).diff(dim=2)).abs().flatten(1).mean(1)


def gradient_energy(clip: Tensor) -> Tensor:
    """Mean squared difference of neighboring pixels in [0, 1], across and down, of uint8 clips: how sharp they are, or
    how noisy -> (B,)."""
    x = uint8_to_unit(clip)
    return 0.5 * sum(x.diff(dim=d).square().flatten(1).mean(1) for d in (-1, -2))


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


ROUNDING = 1 / (12 * 255**2)  # variance of what rounding to uint8 adds to every pixel


def grid_peak(clip: Tensor) -> Tensor:
    """Energy of uint8 clips at the periods of 2 and 4 pixels over that of the frequencies next to them -> (B,).

    The mean of four ratios, across and down. The power spectrum of the brightness, mean over the frames, is summed over
    one direction; in the other, the energy at exactly n / 2 and n / 4 cycles a picture is divided by the mean of one
    cycle more and one less. About 1 for pictures and for noise, which know no such period; many times that where layers
    that double the size treat neighbouring pixels unlike. Sides are cropped to multiples of 4.
    """
    h, w = (side // 4 * 4 for side in clip.shape[-2:])
    power = torch.fft.fft2(uint8_to_unit(clip).mean(1)[..., :h, :w]).abs().square().mean(1) / (h * w)  # (B, H, W)
    ratios = []
    for line in (power.sum(2), power.sum(1)):  # (B, n): down, across
        n = line.shape[1]
        line = line + n * ROUNDING  # nothing at all is no grid
        ratios += [2 * line[:, k] / (line[:, k - 1] + line[:, k + 1]) for k in (n // 2, n // 4)]
    return torch.stack(ratios).mean(0)
