"""Rubbish that a measure must reject: sets of clips made from real ones, scored beside every generator."""

from __future__ import annotations

import torch
from torch import Tensor

from vidiff import keyed

CONTROLS = ("grey_noise", "mean_frame_frozen", "one_clip_repeated", "frames_frozen", "frames_shuffled")


def controls(real: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The five controls, as many clips each as are given.

    - grey_noise: every pixel of every frame an independent uniform grey level.
    - mean_frame_frozen: the mean of all frames of all clips, standing still.
    - one_clip_repeated: one real clip again and again (a generator that has collapsed onto one sample).
    - frames_frozen: each clip's frame at a seeded time, standing still (perfect images, no motion).
    - frames_shuffled: each clip's frames in a seeded order (perfect images, wrong motion).

    The untrained generator, the sixth control of a table, is the caller's to sample.

    Args:
        real: uint8 (N, C, T, H, W).
        seed: with a clip's position the key of all randomness.

    Returns:
        {name: uint8 (N, C, T, H, W)} in the order of CONTROLS.
    """
    if real.dtype != torch.uint8 or real.ndim != 5 or len(real) == 0:
        raise ValueError(f"controls are made from uint8 clips (N, C, T, H, W), got {real.dtype} {tuple(real.shape)}")
    n, c, t, h, w = real.shape
    noise, frozen, shuffled = [], [], []
    for i, clip in enumerate(real):
        draw = keyed.generator("control", seed, i)
        grey = torch.randint(0, 256, (1, t, h, w), generator=draw, dtype=torch.uint8)
        noise.append(grey.expand(c, t, h, w).to(real.device))
        time = int(torch.randint(0, t, (1,), generator=draw))
        frozen.append(clip[:, time : time + 1].expand(c, t, h, w))
        shuffled.append(clip[:, torch.randperm(t, generator=draw).to(real.device)])
    total = torch.zeros(c, h, w, dtype=torch.float64)
    for clip in real:  # one at a time: no float copy of the set
        total += clip.cpu().double().mean(1)
    mean = (total / n).round().to(torch.uint8).to(real.device)
    chosen = real[keyed.key("control", seed, "clip") % n]
    return {
        "grey_noise": torch.stack(noise),
        "mean_frame_frozen": mean[None, :, None].expand(n, c, t, h, w).contiguous(),
        "one_clip_repeated": chosen[None].expand(n, c, t, h, w).contiguous(),
        "frames_frozen": torch.stack(frozen),
        "frames_shuffled": torch.stack(shuffled),
    }
