"""DiffAugment: the same differentiable augmentation on real and generated clips in front of a discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidiff.augment.time_warp import sample_time
from vidiff.errors import UsageError
from vidiff.keyed import forked


def draw(
    count: int, rows: int, key: tuple[int | str, ...], offset: int, total: int | None, kind: str = "uniform"
) -> Tensor:
    """Random numbers (rows, count), cut from those of the global batch; uniform in [0, 1) or standard normal.

    Args:
        count: numbers per clip.
        rows: clips B of this process, at positions offset..offset+B of a global batch of `total` (default offset+B).
        key: what they are a function of; torch's global random state is left alone.
    """
    total = offset + rows if total is None else total
    if offset < 0 or offset + rows > total:
        raise ValueError(f"rows {offset}..{offset + rows} do not lie in a global batch of {total}")
    with forked(*key):
        values = torch.randn(total, count) if kind == "normal" else torch.rand(total, count)
    return values[offset : offset + rows]


class DiffAugment(nn.Module):
    """Differentiable augmentation, every clip with its own parameters and all of its frames with the same.

    Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training, arXiv 2006.10738. With u uniform in
    [0, 1) per clip:
    `color`: `x + (u - 0.5)`; `2u (x - m) + m`, m the mean over channels; `(u + 0.5)(x - m) + m`, m the clip's mean;
    `translation`: a whole number of pixels up to 1/8 of the size, zeros outside; `cutout`: a square of half the size,
    anywhere, set to zero. `time` is ours: a shift by up to 1/8 of the frames (at least one), zeros outside: were the
    end frames repeated instead, a generator that stands still at the ends would go unnoticed.

    Zero is mid-grey: clips are in [-1, 1] here. Everything differentiates twice (gradient penalties). Brightness can
    leave [-1, 1], as in the paper.

    Args:
        policy: any of `color`, `translation`, `cutout`, `time`, applied in this order.
    Raises:
        UsageError: an unknown policy.
    """

    POLICIES = ("color", "translation", "cutout", "time")

    def __init__(self, policy: Sequence[str] = ("color", "translation", "cutout")) -> None:
        super().__init__()
        names = [policy] if isinstance(policy, str) else list(policy)
        for name in names:
            if name not in self.POLICIES:
                raise UsageError(f"DiffAugment: unknown policy {name!r}; accepted: {', '.join(self.POLICIES)}")
        self.policy = tuple(name for name in self.POLICIES if name in names)

    def extra_repr(self) -> str:
        return f"policy={self.policy}"

    def forward(self, clip: Tensor, key: tuple[int | str, ...], offset: int = 0, total: int | None = None) -> Tensor:
        """Augment clips.

        Args:
            clip: float (B, C, T, H, W) in [-1, 1].
            key, offset, total: see `draw`. Give real and generated clips different keys.
        """
        for name in self.policy:
            u = draw(3, len(clip), (*key, name), offset, total)
            clip = getattr(self, f"_{name}")(clip, u)
        return clip

    @staticmethod
    def _color(clip: Tensor, u: Tensor) -> Tensor:
        u = u.to(clip)[:, :, None, None, None, None]  # (B, 3, 1, 1, 1, 1)
        clip = clip + (u[:, 0] - 0.5)
        mean = clip.mean(1, keepdim=True)
        clip = torch.lerp(mean, clip, 2 * u[:, 1])
        return torch.lerp(clip.mean((1, 2, 3, 4), keepdim=True), clip, u[:, 2] + 0.5)

    @staticmethod
    def _translation(clip: Tensor, u: Tensor) -> Tensor:
        b, c, t, h, w = clip.shape
        (dx, kx), (dy, ky) = _shift(u[:, 0], w, int(w / 8 + 0.5)), _shift(u[:, 1], h, int(h / 8 + 0.5))
        index = (dy[:, :, None] * w + dx[:, None]).view(b, 1, h * w).to(clip.device)
        kept = (ky[:, :, None] & kx[:, None]).view(b, 1, h * w).to(clip)
        out = clip.reshape(b, c * t, h * w).gather(2, index.expand(b, c * t, h * w)) * kept
        return out.view(b, c, t, h, w)

    @staticmethod
    def _cutout(clip: Tensor, u: Tensor) -> Tensor:
        h, w = clip.shape[-2:]
        y, x = _square(u[:, 0], h), _square(u[:, 1], w)
        hole = (y[:, :, None] & x[:, None]).to(clip.device)  # (B, H, W)
        return clip * (~hole).to(clip)[:, None, None]

    @staticmethod
    def _time(clip: Tensor, u: Tensor) -> Tensor:
        t = clip.shape[2]
        index, kept = _shift(u[:, 0], t, min(max(1, int(t / 8 + 0.5)), t - 1))
        return sample_time(clip, index.float(), "nearest") * kept.to(clip)[:, None, :, None, None]


def _shift(u: Tensor, size: int, most: int) -> tuple[Tensor, Tensor]:
    """Source positions (B, size) of a shift by -most..most, and which of them lie inside."""
    source = torch.arange(size) + (u[:, None] * (2 * most + 1)).floor().long() - most
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def _square(u: Tensor, size: int) -> Tensor:
    """Which positions (B, size) lie under a patch of half the size whose middle is anywhere, the borders included."""
    length = int(size * 0.5 + 0.5)
    start = (u[:, None] * (size + 1 - length % 2)).floor() - length // 2
    k = torch.arange(size)
    return (k >= start) & (k < start + length)
