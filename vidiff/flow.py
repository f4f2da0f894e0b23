"""Optical flow of clips: OpenCV's DIS or torchvision's RAFT, and which pixels were seen before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_frames, frames_to_clip
from vidiff.errors import UsageError
from vidiff.pretrained.frozen import Frozen
from vidiff.pretrained.raft import raft_network
from vidiff.warp import flow_targets, warp_by_flow

FlowKind = Literal["dis", "raft"]
FlowMethod = Callable[[Tensor, Tensor], Tensor]
DIS_SMALLEST = 16  # pixels a side; it refuses less than 12
RAFT_SMALLEST = 128


def flow_method(kind: FlowKind) -> FlowMethod:
    """A function (first, second), frames (N, C, H, W) in [-1, 1] -> flow (N, 2, H, W) = (x, y) in pixels, float32.

    What is at p in the first frame is at p + flow(p) in the second. There are no gradients through it.

    Args:
        kind: `dis`: dense inverse search (Kroeger et al. 2016, 1603.03590), from OpenCV, on grey frames; `raft`: RAFT
            (Teed and Deng 2020, 2003.12039), torchvision's small network, where its weights file is.

    Raises:
        UsageError: OpenCV is not installed, or the weights are missing.
    """
    if kind == "dis":
        return _DIS()
    if kind == "raft":
        return _RAFT()
    raise ValueError(f"flow must be dis or raft, got {kind!r}")


class _DIS:
    def __init__(self):
        if importlib.util.find_spec("cv2") is None:
            raise UsageError("flow `dis` needs OpenCV: pip install opencv-python-headless")
        import cv2

        self._cv2 = cv2

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self._cv2.setNumThreads(torch.get_num_threads())
        h, w = first.shape[2:]
        room = ((0, 0), (0, max(0, DIS_SMALLEST - h)), (0, max(0, DIS_SMALLEST - w)))
        grey = [
            np.pad(((x.float().mean(1) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy(), room, "edge")
            for x in (first, second)
        ]
        flows = [self._search(a, b)[:h, :w] for a, b in zip(*grey)]  # (H, W, 2) each
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous().to(first.device)

    def _search(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        # Made anew for each pair: it remembers, and at some sizes (40 x 40) the last pair changes the next one's flow.
        preset = self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        return self._cv2.DISOpticalFlow_create(preset).calc(first, second, None)


class _RAFT:
    def __init__(self):
        self._frozen = Frozen(raft_network("flow `raft`"))

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        h, w = first.shape[2:]
        grow = max(1.0, RAFT_SMALLEST / min(h, w))
        size = [round(side * grow / 8) * 8 for side in (h, w)]
        frames = [x.float().expand(-1, 3, -1, -1) for x in (first, second)]
        frames = [F.interpolate(x, size, mode="bilinear") for x in frames]
        with torch.autocast(first.device.type, enabled=False):
            flow = self._frozen.network_for(frames[0])(*frames)[-1]  # the last of its refinements
        flow = F.interpolate(flow, (h, w), mode="bilinear", antialias=True)
        return flow * flow.new_tensor([w / size[1], h / size[0]])[None, :, None, None]


@torch.no_grad()
def backward_flow(clip: Tensor, method: FlowMethod) -> tuple[Tensor, Tensor]:
    """Where each pixel of frame t+1 was in frame t, and whether it was visible in it.

    Visible (Sundaram et al. 2010, as in Ruder et al. 2016, 1604.08610): with f the flow t+1 -> t and g the flow
    t -> t+1 found at p + f(p), |f + g|^2 <= 0.01 (|f|^2 + |g|^2) + 0.5, and p + f(p) is inside of the frame.

    Args:
        clip: (B, C, T, H, W) in [-1, 1].
        method: see `flow_method`.

    Returns:
        f (B, 2, T-1, H, W) in pixels, float32, and the mask (B, 1, T-1, H, W) of zeros and ones, like the clip.
    """
    steps, (h, w) = clip.shape[2] - 1, clip.shape[3:]
    before, now = clip_to_frames(clip[:, :, :-1]), clip_to_frames(clip[:, :, 1:])
    back, ahead = method(now, before), method(before, now)  # (B*(T-1), 2, H, W)
    returned = warp_by_flow(ahead, back)
    error = (back + returned).square().sum(1)
    seen = error <= 0.01 * (back.square().sum(1) + returned.square().sum(1)) + 0.5
    x, y = flow_targets(back)
    seen &= (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    return frames_to_clip(back, steps), frames_to_clip(seen.unsqueeze(1), steps).to(clip.dtype)
