"""Segments: reorder those of one clip, or join segments of two clips, by hard cuts or cross-fades."""

from __future__ import annotations

import torch
from kornia.augmentation import GeometricAugmentationBase3D
from torch import Tensor

from vidiff.augment.time_warp import TimeMap, sample_time
from vidiff.errors import UsageError


class ShuffleSegments(TimeMap):
    """Cut a clip into segments at random places, put them in random order, and play some of them backwards.

    Args:
        segments: range of the number of segments, both ends included; at most T are made.
        reverse: probability that a segment is played backwards.
        fade: frames over which a segment fades in over the continuation of the one before; 0 is a hard cut.
        p: see `TimeMap`.
    """

    def __init__(
        self,
        segments: tuple[int, int] = (2, 4),
        reverse: float = 0.0,
        fade: int = 0,
        p: float = 0.5,
    ) -> None:
        super().__init__(p, "nearest")
        low, high = (int(s) for s in segments)
        if not 1 <= low <= high:
            raise UsageError(f"ShuffleSegments: segments {segments}; accepted: a pair 1 <= low <= high")
        if not 0 <= reverse <= 1 or fade < 0:
            raise UsageError(f"ShuffleSegments: reverse {reverse}, fade {fade}; accepted: reverse in 0..1, fade >= 0")
        self.flags.update(segments=(low, high), reverse=reverse, fade=fade)

    def times(self, n: int, frames: int) -> Tensor:
        low, high = self.flags["segments"]
        count = torch.randint(low, high + 1, (n, 1))
        # The count - 1 gaps with the smallest of T - 1 random numbers are the cuts.
        cut = torch.rand(n, frames - 1).argsort(1).argsort(1) < count - 1
        segment = torch.cat([torch.zeros(n, 1, dtype=torch.long), cut.long().cumsum(1)], 1)  # (n, T) segment of a frame
        place = torch.rand(n, frames).argsort(1).gather(1, segment)  # random rank of its segment
        backwards = (torch.rand(n, frames) < self.flags["reverse"]).gather(1, segment)
        k = torch.arange(frames)
        return (place * frames + torch.where(backwards, frames - 1 - k, k)).argsort(1).float()

    def apply_transform(self, input: Tensor, params: dict, flags: dict, transform: Tensor | None = None) -> Tensor:
        time = params["time"]
        out = sample_time(input, time, "nearest")
        frames = time.shape[1]
        if not flags["fade"] or frames < 3:
            return out
        k = torch.arange(frames)
        step = time.diff(dim=1)
        joint = torch.cat([torch.zeros(len(time), 1, dtype=torch.bool), step.abs() != 1], 1)
        last = torch.where(joint, k, 0).cummax(1).values  # (B, T): the joint at or before each frame, 0: none yet
        before = (last - 1).clamp(min=0)
        # A segment of one frame has no direction of its own: it is taken to stand still.
        motion = torch.cat([torch.zeros(len(time), 1), torch.where(step.abs() == 1, step, 0)], 1)
        age = k - last + 1
        ghost = (time.gather(1, before) + age * motion.gather(1, before)).clamp(0, frames - 1)
        weight = torch.where(last > 0, age / (flags["fade"] + 1), 1.0).clamp(max=1.0).to(input)
        old = sample_time(input, ghost, "nearest")
        return torch.lerp(old, out, weight[:, None, :, None, None])


class Splice(GeometricAugmentationBase3D):
    """Replace a segment of a clip by the same segment of its partner, the neighbour in the global batch (2k <-> 2k+1).

    Loaders shuffle, so the neighbour is a random clip; and as both of a pair are on the same process whenever its
    batch is even, the result does not depend on the number of processes. A clip without a neighbour keeps its frames.
    The partner is taken as it stands in front of this operator.

    `out_t = (1 - w_t) own_t + w_t partner_t`, w_t = 1 inside the segment and linear over `fade` frames around its
    ends; the label's weight is `1 - mean_t w_t`.

    Args:
        share: range of the segment's share of the frames, within [0, 1].
        fade: frames of a cross-fade; 0 is a hard cut.
        p: probability per clip.
    """

    def __init__(self, share: tuple[float, float] = (0.25, 0.5), fade: int = 0, p: float = 0.5) -> None:
        super().__init__(p=p)
        if not 0 <= share[0] <= share[1] <= 1 or fade < 0:
            raise UsageError(f"Splice: share {share}, fade {fade}; accepted: 0 <= low <= high <= 1, fade >= 0")
        self.flags = {"share": tuple(share), "fade": fade}

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        n, frames = batch_shape[0], batch_shape[2]
        length = (torch.empty(n, 1).uniform_(*self.flags["share"]) * frames).round()
        start = (torch.rand(n, 1) * (frames - length + 1)).floor()
        k = torch.arange(frames) + 0.5  # middles of the frames
        if self.flags["fade"]:
            ramp = (torch.minimum(k - start, start + length - k) / self.flags["fade"] + 0.5).clamp(0, 1)
            # No fade at the ends of the clip, where there is nothing to fade from; an empty segment stays empty.
            full = ((start == 0) & (k < length / 2)) | ((start + length == frames) & (k > start + length / 2))
            weight = torch.where(full, 1.0, ramp) * (length > 0)
        else:
            weight = ((k > start) & (k < start + length)).float()
        own = torch.arange(n)
        return {"weight": weight, "partner": (own ^ 1).where((own ^ 1) < n, own)}

    def compute_transformation(self, input: Tensor, params: dict, flags: dict) -> Tensor:
        return self.identity_matrix(input)

    def apply_transform(self, input: Tensor, params: dict, flags: dict, transform: Tensor | None = None) -> Tensor:
        weight = params["weight"].to(input)[:, None, :, None, None]
        return torch.lerp(input, input[params["partner"].to(input.device)], weight)

    @staticmethod
    def account(own: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Share (B, 1, T, 1, 1) of its own label in every frame of a clip after the splice, from that before it.

        The partner's clip may hold some of ours already: `(1 - w_t) own_t + w_t (1 - own_partner_t)`.
        """
        partner = params["partner"]
        alone = (partner == torch.arange(len(partner)))[:, None, None, None, None]
        weight = params["weight"] * (params["batch_prob"] > 0.5)[:, None]
        return torch.lerp(own, torch.where(alone, own, 1 - own[partner]), weight[:, None, :, None, None])
