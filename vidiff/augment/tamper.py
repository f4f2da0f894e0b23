"""Tampered clips, and where: a segment of another clip in the middle of one, or a region of one in all its frames."""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("segment", "region")


def tamper(clips: Tensor, others: Tensor, kinds: list[str], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put material of other clips into clips.

    A segment takes a quarter to a half of the frames, with frames of its clip before and behind it. A region is an
    ellipse of a fifth to half of the frame each way, with an edge of a pixel; it stays where it is.

    Args:
        clips, others: uint8 (N, C, T, H, W), T at least 4.
        kinds: of each clip, one of KINDS.
        draw: where the numbers come from.

    Returns:
        The clips, uint8, and masks, float (N, T, H, W): 1 where the material is foreign.
    """
    n, _, frames, height, width = clips.shape
    masks = torch.zeros(n, frames, height, width)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for i, kind in enumerate(kinds):
        u = torch.rand(6, generator=draw)
        if kind == "segment":
            length = max(1, round(frames * float(0.25 + 0.25 * u[0])))
            start = 1 + int(u[1] * (frames - length - 1))
            masks[i, start : start + length] = 1
        else:
            ry, rx = (float(0.1 + 0.15 * v) * side for v, side in ((u[0], height), (u[1], width)))
            cy, cx = ry + float(u[2]) * (height - 2 * ry), rx + float(u[3]) * (width - 2 * rx)
            far = ((y - cy) / ry).square() + ((x - cx) / rx).square()
            masks[i] = ((1 - far.sqrt()) * min(ry, rx) + 0.5).clamp(0, 1)
    soft = masks[:, None]
    mixed = clips.float() * (1 - soft) + others.float() * soft
    return mixed.round().to(torch.uint8), (masks > 0.5).float()
