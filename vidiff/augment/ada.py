"""ADA: discriminator augmentation whose probability follows how far the discriminator overfits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vidiff.augment.discriminator import draw
from vidiff.errors import UsageError
from vidiff.warp import warp_by_matrix


class AdaptiveAugment(nn.Module):
    """Adaptive discriminator augmentation; every operation with probability p per clip, the same for all its frames.

    Karras et al. 2020, Training Generative Adversarial Networks with Limited Data, arXiv 2006.06676, the `bgc` set:
    x-flip, quarter turns, whole-pixel and fractional translation, isotropic and anisotropic scaling, rotation (one
    warp); brightness, contrast, luma flip, hue, saturation (one matrix). The probability climbs while the
    overfitting measure `r_t = E[sign D(real)]` is above `target` and falls while it is below, by
    `clips seen / clips` each time, so it needs `clips` clips to go from 0 to 1.

    Deviations: bilinear resampling without the paper's wavelet filters; colour changes of one-channel clips are
    brightness, contrast and luma flip.

    All state is in buffers, so that it is saved with the model; nothing is read back from the device.

    Args:
        target: aimed-at r_t, in [-1, 1].
        clips: clips seen until p could go from 0 to 1.
        interval: calls of `update` between two changes of p.
        start: p at the beginning, in [0, 1].
        limit: largest p, in [0, 1].
        geometry: warp the clips.
        color: change their colours.
    Raises:
        UsageError: a value outside its range.
    """

    def __init__(
        self,
        target: float = 0.6,
        clips: int = 500_000,
        interval: int = 4,
        start: float = 0.0,
        limit: float = 1.0,
        geometry: bool = True,
        color: bool = True,
    ) -> None:
        super().__init__()
        if not (-1 <= target <= 1 and 0 <= start <= limit <= 1 and clips > 0 and interval > 0):
            raise UsageError(
                f"AdaptiveAugment: target {target}, start {start}, limit {limit}, clips {clips}, interval {interval}; "
                "accepted: target in -1..1, 0 <= start <= limit <= 1, clips and interval positive"
            )
        self.target, self.clips, self.interval, self.limit = target, clips, interval, limit
        self.geometry, self.color = geometry, color
        self.register_buffer("p", torch.tensor(float(start)))
        self.register_buffer("r_t", torch.tensor(0.0))  # the last measure, for the dashboard
        self.register_buffer("sums", torch.zeros(4))  # since the last change: signs, logits, clips, calls

    def extra_repr(self) -> str:
        return f"target={self.target}, clips={self.clips}, interval={self.interval}, limit={self.limit}"

    @torch.no_grad()
    def update(self, real_logits: Tensor, clips: int, sync: Callable[[Tensor], Tensor] | None = None) -> None:
        """Take note of the discriminator's logits for real clips; every `interval` calls change p.

        Args:
            real_logits: any shape: a clip may have many logits, of one discriminator or of several.
            clips: how many real clips they are about.
            sync: sums a tensor over the processes (all-reduce) and returns it; needed where there are several.
        """
        signs = real_logits.detach().float().sign()
        seen = torch.stack([signs.sum(), signs.new_full((), signs.numel()), signs.new_full((), clips)])
        if sync is not None:
            seen = sync(seen)
        self.sums += torch.cat([seen, seen.new_ones(1)])
        # Branchless: a decision in Python would wait for the device at every step.
        due = self.sums[3] >= self.interval
        r_t = self.sums[0] / self.sums[1].clamp(min=1)
        step = (r_t - self.target).sign() * self.sums[2] / self.clips
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, self.limit), self.p))
        self.r_t.copy_(torch.where(due, r_t, self.r_t))
        self.sums.copy_(torch.where(due, 0.0, self.sums))

    def forward(self, clip: Tensor, key: tuple[int | str, ...], offset: int = 0, total: int | None = None) -> Tensor:
        """Augment clips; differentiable twice in `clip`.

        Args:
            clip: float (B, C, T, H, W) in [-1, 1]; the result may leave that range, as in the paper.
            key, offset, total: see `draw`. Give real and generated clips different keys.
        """
        b = len(clip)
        u = draw(24, b, (*key, "uniform"), offset, total).to(clip.device)
        n = draw(8, b, (*key, "normal"), offset, total, "normal").to(clip.device)
        with torch.autocast(clip.device.type, enabled=False):
            if self.geometry:
                clip = warp_by_matrix(clip, self._warp(u[:, :16], n[:, :4], clip.shape[-2:]))
            if self.color:
                clip = self._recolor(clip, u[:, 16:], n[:, 4:])
        return clip

    def _warp(self, u: Tensor, n: Tensor, size: tuple[int, int]) -> Tensor:
        """Matrices (B, 3, 3) from a pixel of the result to its source; u uniform (B, 16), n normal (B, 4)."""
        h, w = size
        gate = (u[:, :8] < self.p).float()
        zero, one = torch.zeros_like(u[:, 0]), torch.ones_like(u[:, 0])

        def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            return torch.stack([torch.stack(row, -1) for row in (*rows, (zero, zero, one))], -2)

        def scale(sx: Tensor, sy: Tensor) -> Tensor:
            return matrix((sx, zero, zero), (zero, sy, zero))

        def rotate(angle: Tensor) -> Tensor:
            return matrix((angle.cos(), -angle.sin(), zero), (angle.sin(), angle.cos(), zero))

        def translate(dx: Tensor, dy: Tensor) -> Tensor:
            return matrix((one, zero, dx), (zero, one, dy))

        # The paper rotates before and after the anisotropic scaling, so that one of the two happens with probability p.
        turn = (u[:, 5:7] < 1 - (1 - self.p).clamp(min=0).sqrt()).float()
        angle = turn * (2 * u[:, 8:10] - 1) * math.pi
        stretch = torch.exp2(gate[:, 4] * n[:, 1] * 0.2)
        zoom = torch.exp2(gate[:, 3] * n[:, 0] * 0.2)
        quarter = (gate[:, 1] * (u[:, 10] * 4).floor()).long()
        cos, sin = one.new_tensor([1, 0, -1, 0])[quarter], one.new_tensor([0, 1, 0, -1])[quarter]
        flip = 1 - 2 * gate[:, 0] * (u[:, 11] < 0.5)
        whole = (gate[:, 2:3] * (2 * u[:, 12:14] - 1) * 0.125 * u.new_tensor([w, h])).round()
        part = gate[:, 7:8] * n[:, 2:4] * 0.125 * u.new_tensor([w, h])

        out = scale(flip, one) @ matrix((cos, -sin, zero), (sin, cos, zero)) @ translate(whole[:, 0], whole[:, 1])
        out = out @ scale(zoom, zoom) @ rotate(angle[:, 0]) @ scale(stretch, 1 / stretch) @ rotate(angle[:, 1])
        return out @ translate(part[:, 0], part[:, 1])

    def _recolor(self, clip: Tensor, u: Tensor, n: Tensor) -> Tensor:
        """Apply an affine map to the colours of a clip; u uniform (B, 8), n normal (B, 4)."""
        gate = (u[:, :5] < self.p).float()
        bright = (gate[:, 0] * n[:, 0] * 0.2)[:, None]  # (B, 1)
        contrast = torch.exp2(gate[:, 1] * n[:, 1] * 0.5)
        mirror = gate[:, 2] * (u[:, 5] < 0.5)
        if clip.shape[1] != 3:
            factor = contrast * (1 - 2 * mirror)
            return (
                clip * factor.to(clip)[:, None, None, None, None]
                + (factor[:, None] * bright).to(clip)[:, :, None, None, None]
            )
        eye = torch.eye(3, device=u.device)
        grey = eye.new_full((3, 3), 1 / 3)  # projection on the luma axis (1, 1, 1) / sqrt 3
        cross = eye.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # v -> axis x v

        def each(value: Tensor) -> Tensor:
            return value[:, None, None]

        hue = gate[:, 3] * (2 * u[:, 6] - 1) * math.pi
        matrix = each(contrast) * (eye - 2 * each(mirror) * grey)
        # Rotation about the luma axis (Rodrigues), exact at angle 0.
        matrix = (eye + each(hue.sin()) * cross + each(1 - hue.cos()) * (grey - eye)) @ matrix
        saturation = torch.exp2(gate[:, 4] * n[:, 2])
        matrix = (grey + each(saturation) * (eye - grey)) @ matrix
        shift = (matrix @ bright[:, None].expand(-1, 3, 1)).to(clip)[:, :, :, None, None]  # (B, 3, 1, 1, 1)
        matrix = matrix.to(clip)[:, :, :, None, None, None]  # (B, 3, 3, 1, 1, 1)
        return matrix[:, :, 0] * clip[:, 0:1] + matrix[:, :, 1] * clip[:, 1:2] + matrix[:, :, 2] * clip[:, 2:3] + shift
