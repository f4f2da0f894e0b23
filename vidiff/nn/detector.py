"""A small network that says of a clip, and of each place in it, whether it is as a camera recorded it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4  # of the normalization
RESIDUE = 4.0  # factor of what a frame differs from its blurred self and from the frame before: small numbers


class SpaceTime(nn.Module):
    """A residual block: convolution 3 x 3 over space, then 3 over time (Tran et al. 2018, arXiv 1711.11248)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.space = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, T, h, w) -> the same shape."""
        return x + self.time(F.silu(self.space(F.silu(self.norm(x)))))


class ClipDetector(nn.Module):
    """Clips -> logits of the classes, and for each place a logit that it is not as recorded.

    The frames, what they differ from their blurred selves (where generators leave traces), and what they differ from
    the frame before go through space-time blocks at 1/2 and 1/4 of the resolution. Each place then also sees how far it
    is from the mean of its frame and that frame from the mean of the clip: what is foreign is foreign to the rest.

    Args:
        num_classes: K.
        width: channels at half resolution; twice as many at a quarter.
        blocks: at each of the two resolutions.
    """

    def __init__(self, num_classes: int = 3, width: int = 16, blocks: int = 2):
        super().__init__()
        self.stem = nn.Conv3d(9, width, (1, 4, 4), (1, 2, 2), (0, 1, 1))
        self.near = nn.Sequential(*[SpaceTime(width) for _ in range(blocks)])
        self.down = nn.Conv3d(width, 2 * width, (1, 4, 4), (1, 2, 2), (0, 1, 1))
        self.far = nn.Sequential(*[SpaceTime(2 * width) for _ in range(blocks)])
        context = 2 * width
        self.mix = nn.Conv3d(5 * context, context, 1)
        self.place = nn.Conv3d(context + width, 1, 1)
        self.head = nn.Sequential(nn.Linear(2 * context + 2, context), nn.SiLU(), nn.Linear(context, num_classes))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, 3, T, H, W) in [-1, 1], H and W multiples of 4 -> logits (B, K), and of places (B, T, H/2, W/2)."""
        near = self.near(self.stem(residues(clips)))  # (B, W, T, H/2, W/2)
        far = self.far(self.down(near))  # (B, 2W, T, H/4, W/4)
        frame = far.mean((3, 4), keepdim=True)
        clip, most = frame.mean(2, keepdim=True), far.amax((2, 3, 4), keepdim=True)
        seen = [far, (far - frame).abs(), (frame - clip).abs(), clip, most]
        mixed = F.silu(self.mix(torch.cat([x.expand_as(far) for x in seen], 1)))
        up = mixed.repeat_interleave(2, 3).repeat_interleave(2, 4)
        places = self.place(torch.cat([up, near], 1)).squeeze(1)  # (B, T, H/2, W/2)
        flat = places.flatten(1)
        facts = [mixed.mean((2, 3, 4)), mixed.amax((2, 3, 4)), flat.mean(1, keepdim=True), flat.amax(1, keepdim=True)]
        return self.head(torch.cat(facts, 1)), places


def residues(clip: Tensor) -> Tensor:
    """Clips (B, 3, T, H, W) -> with their differences from a 3 x 3 mean and from the frame before, (B, 9, T, H, W)."""
    b, c, t, h, w = clip.shape
    frames = clip.transpose(1, 2).reshape(b * t, c, h, w)
    blurred = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)
    fine = (frames - blurred).reshape(b, t, c, h, w).transpose(1, 2)
    change = torch.cat([torch.zeros_like(clip[:, :, :1]), clip.diff(dim=2)], 2)
    return torch.cat([clip, RESIDUE * fine, RESIDUE * change], 1)
