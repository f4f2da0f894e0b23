"""Measures of clips that hold two eyes side by side: do they agree, and are things as near as they should be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import eyes_as_frames, uint8_to_unit, unit_to_signed
from vidiff.flow import FlowMethod, backward_flow
from vidiff.warp import warp_by_flow

LOOKED_AT = 128  # pixels a side that disparities are found at: half a pixel of a small clip is some of them


@torch.no_grad()
def eye_error(clips: Tensor, sources: Tensor, method: FlowMethod) -> Tensor:
    """E |M (right eye - warped left eye)| in [0, 1] of uint8 clips (B, C, T, H, 2W) -> (B,).

    Args:
        clips: translations, or the sources themselves, or their true counterparts.
        sources: uint8; their disparity, and what both eyes see of them, are the warp and the mask M.
        method: see `vidiff.flow.flow_method`.
    """
    flow, seen = backward_flow(unit_to_signed(uint8_to_unit(eyes_as_frames(sources))), method)
    eyes = uint8_to_unit(eyes_as_frames(clips))
    warped = warp_by_flow(eyes[:, :, 0], flow[:, :, 0])  # (B T, C, H, W)
    error = (seen[:, :, 0] * (eyes[:, :, 1] - warped)).abs()
    return error.unflatten(0, (len(clips), -1)).flatten(1).mean(1)


@torch.no_grad()
def disparity(clips: Tensor, method: FlowMethod) -> Tensor:
    """x in the left eye less x in the right one, of each pixel of the left one, in pixels, float32 (B, T, H, W).

    Args:
        clips: uint8 (B, C, T, H, 2W), the left eye first.
        method: finds it as flow, on frames that are enlarged to 128 pixels where they are smaller.
    """
    eyes = unit_to_signed(uint8_to_unit(eyes_as_frames(clips)))  # (B T, C, 2, H, W)
    height, width = eyes.shape[-2:]
    grow = max(1.0, LOOKED_AT / min(height, width))
    size = [round(height * grow), round(width * grow)]
    left, right = (F.interpolate(eyes[:, :, k], size, mode="bicubic").clamp(-1, 1) for k in (0, 1))
    found = -method(left, right)[:, :1] / grow
    return F.interpolate(found, (height, width), mode="area")[:, 0].unflatten(0, (len(clips), -1))


def disparity_error(clips: Tensor, truth: Tensor, method: FlowMethod) -> Tensor:
    """Mean |disparity - truth| in pixels, of uint8 clips (B, C, T, H, 2W) -> (B,).

    Args:
        truth: (B, T, H, W) of the left eye, see `vidiff.data.shapes.stereo.stereo_truth`.
    """
    return (disparity(clips, method) - truth.to(clips.device)).abs().flatten(1).mean(1)
