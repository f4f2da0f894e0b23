"""Attention over space, over time, or over both, for feature maps of clips: to itself, or to an earlier layer."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.nn.blocks import Conv3d

Over = Literal["space", "time", "both"]
LARGEST_BATCH = 65_535  # what the fused CUDA kernels can launch: every pixel is a row of its own for `time`


class _Attention(nn.Module):
    """late + gate * W_o softmax(q k^T / sqrt(d)) v, with q = W_q late, k = W_k early, v = W_v early.

    Vaswani et al. 2017 (1706.03762) in the residual form of SAGAN (Zhang et al. 2019, 1805.08318), whose gate starts
    at 0: a new layer is the identity.

    Positions: pixels have none, as in SAGAN, so that any size fits; the convolutions around know edges and
    neighbours. Frames would be a set without any, so where frames meet, q and k are rotated by angles proportional to
    their time (Su et al. 2021, 2104.09864): a score depends on the distance of two frames, never on where a clip
    begins, and any length fits.

    The fused kernels have no second derivative: a gradient penalty through this layer has to run under
    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """

    def __init__(self, channels: int, early_channels: int, over: Over, heads: int, pool: int = 1):
        super().__init__()
        if over not in ("space", "time", "both"):
            raise ValueError(f"attention must be over space, time or both, got {over!r}")
        if heads < 1 or channels % heads:
            raise ValueError(f"attention needs channels that are a multiple of heads, got {channels} and {heads}")
        if over != "space" and channels // heads < 2:
            raise ValueError(f"attention over time needs 2 channels a head to mark time, got {channels} for {heads}")
        if pool < 1 or (over == "time" and pool > 1):
            raise ValueError(f"pool makes fewer pixels to attend to: at least 1, and 1 over time, got {pool}")
        self.over, self.heads = over, heads
        self.query = Conv3d(channels, channels, 1, bias=False)
        strided = dict(kernel_size=(1, pool, pool), stride=(1, pool, pool), bias=False)
        self.key = Conv3d(early_channels, channels, **strided)
        self.value = Conv3d(early_channels, channels, **strided)
        self.out = Conv3d(channels, channels, 1, bias=False)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
        self.gate = nn.Parameter(torch.zeros(()))

    @property
    def unbounded(self) -> bool:
        """Whether a frame may depend on frames however far away."""
        return self.over != "space"

    def _attend(self, late: Tensor, early: Tensor) -> Tensor:
        key, value = self.key(early), self.value(early)
        frames = key.shape[2]
        if self.over == "space" and frames != late.shape[2]:  # each frame's own counterpart, the nearest in time
            key, value = (F.interpolate(x, (late.shape[2], *x.shape[3:])) for x in (key, value))
        if self.over == "time" and key.shape[3:] != late.shape[3:]:  # each pixel's own counterpart
            key, value = (F.interpolate(x, (frames, *late.shape[3:])) for x in (key, value))
        q, k, v = (self._tokens(x) for x in (self.query(late), key, value))
        if self.over != "space":
            q, k = self._in_time(q, late.shape[2], 1.0), self._in_time(k, frames, late.shape[2] / frames)
        parts = zip(q.split(LARGEST_BATCH), k.split(LARGEST_BATCH), v.split(LARGEST_BATCH))
        mixed = [F.scaled_dot_product_attention(*p) for p in parts]
        return late + self.gate * self.out(self._map(mixed[0] if len(mixed) == 1 else torch.cat(mixed), late))

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (rows that attend by themselves, heads, tokens that meet, C / heads)."""
        b, c, t, h, w = x.shape
        x = x.reshape(b, self.heads, c // self.heads, t, h, w)
        if self.over == "space":
            tokens = x.permute(0, 3, 1, 4, 5, 2).reshape(b * t, self.heads, h * w, -1)
        elif self.over == "time":
            tokens = x.permute(0, 4, 5, 1, 3, 2).reshape(b * h * w, self.heads, t, -1)
        else:
            tokens = x.permute(0, 1, 3, 4, 5, 2).reshape(b, self.heads, t * h * w, -1)
        return tokens.contiguous()  # with strided channels no fused kernel takes them

    def _map(self, tokens: Tensor, like: Tensor) -> Tensor:
        """The inverse of `_tokens`, to (B, C, T, H, W) of `like`."""
        b, c, t, h, w = like.shape
        d = c // self.heads
        if self.over == "space":
            x = tokens.reshape(b, t, self.heads, h, w, d).permute(0, 2, 5, 1, 3, 4)
        elif self.over == "time":
            x = tokens.reshape(b, h, w, self.heads, t, d).permute(0, 3, 5, 4, 1, 2)
        else:
            x = tokens.reshape(b, self.heads, t, h, w, d).permute(0, 1, 5, 2, 3, 4)
        return x.reshape(b, c, t, h, w)

    def _in_time(self, tokens: Tensor, frames: int, step: float) -> Tensor:
        """Tokens (rows, heads, frames * pixels, d), turned by their time: frame j is in the middle of its share."""
        time = (torch.arange(frames, device=tokens.device, dtype=torch.float32) + 0.5) * step
        return rotated(tokens, time.repeat_interleave(tokens.shape[2] // frames))


def rotated(x: Tensor, time: Tensor) -> Tensor:
    """Pairs of channels (x_i, x_{i + d/2}) turned by the angle time / 10000^(2i/d) (Su et al. 2021, 2104.09864).

    Args:
        x: (..., N, d); an odd last channel stays as it is.
        time: (N,), in frames.
    """
    half = x.shape[-1] // 2
    slow = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = time[:, None] * slow  # (N, d / 2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=-1)


class SelfAttention(_Attention):
    """(B, C, T, H, W) -> the same shape; see `_Attention` for formula, gate and positions.

    Args:
        channels: C, a multiple of `heads`.
        over: `space`: the pixels of each frame; `time`: the frames at each location; `both`: all T * H * W.
        heads: parts of the channels that attend by themselves.
        pool: keys and values come from a convolution strided by this in space (SAGAN's code halves them too); 1 over
            time. H and W have to be at least this.
    """

    def __init__(self, channels: int, over: Over = "both", heads: int = 4, pool: int = 1):
        super().__init__(channels, channels, over, heads, pool)

    def forward(self, x: Tensor) -> Tensor:
        return self._attend(x, x)


class CrossLayerAttention(_Attention):
    """Attention of late features to early ones: queries from late, keys and values from early.

    Where the two differ in a size that does not take part (T for `space`, H and W for `time`), each late frame or
    pixel meets its nearest early one.

    Args:
        channels: C of the late features and of the result, a multiple of `heads`.
        early_channels: C' of the early features.
        heads, over: as in `SelfAttention`.
    """

    def __init__(self, channels: int, early_channels: int, heads: int = 4, over: Over = "both"):
        super().__init__(channels, early_channels, over, heads)

    def forward(self, late: Tensor, early: Tensor) -> Tensor:
        """late (B, C, T, H, W), early (B, C', T', H', W') -> (B, C, T, H, W)."""
        return self._attend(late, early)
