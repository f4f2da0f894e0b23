"""A transformer on a short row of tokens that is conditioned on a time: the velocity of latents that are no grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding
from vidiff.nn.flow_unet import HEAD, linear_velocity, time_waves, zeroed

NOISE = 0.05  # least that numbers are divided by where they are seen beside their noise


class TransformerBlock(nn.Module):
    """Attention among all tokens, then two layers on each; the condition scales, shifts and gates both (Peebles and Xie
    2023, 2212.09748). A new block is the identity."""

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norms = nn.ModuleList(nn.LayerNorm(channels, elementwise_affine=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.layers = nn.Sequential(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, channels))
        self.film = zeroed(nn.Linear(condition, 6 * channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens (B, N, C), condition (B, D) -> (B, N, C)."""
        scale, shift, gate, scale_2, shift_2, gate_2 = self.film(condition)[:, None].chunk(6, dim=2)
        h = self.norms[0](x) * (1 + scale) + shift
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, C')
        x = x + gate * self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + gate_2 * self.layers(self.norms[1](x) * (1 + scale_2) + shift_2)


class FlowTransformer(nn.Module):
    """The velocity of tokens on their way from noise to data, see `FlowUNet3d` for what is predicted.

    Args:
        spec: sizes of the latents: `num_frames` x `resolution` x `resolution` tokens of `channels` numbers; `width` is
            the number of channels within.
        blocks: number of blocks.
        patch: how many places that follow one another are one token; a fraction of the work.
        data_std: standard deviation of the latents, of each number until `fit` measures it.

    Raises:
        ValueError: `patch` does not divide the number of places.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 6, data_std: float = 1.0, patch: int = 2):
        super().__init__()
        self.spec, self.patch, w = spec, patch, spec.width
        places = spec.num_frames * spec.resolution**2 * spec.aspect
        if places % patch:
            raise ValueError(f"patch must divide the {places} places of the latents, got {patch}")
        sizes = (spec.channels, spec.num_frames, spec.resolution, spec.aspect * spec.resolution)
        self.register_buffer("data_std", torch.full(sizes, float(data_std)))
        tokens, numbers = places // patch, spec.channels * patch
        self.first, self.place = nn.Linear(2 * numbers, w), nn.Parameter(0.02 * torch.randn(tokens, w))
        # Tokens are of different kinds: each place has layers of its own beside those that all share.
        self.own_first = nn.Parameter(torch.zeros(tokens, 2 * numbers, w))
        self.own_last = nn.Parameter(torch.zeros(tokens, w, numbers))
        self.embed_time = nn.Sequential(nn.Linear(64, w), nn.SiLU(), nn.Linear(w, w))
        self.embed = ClassEmbedding(spec.num_classes, w) if spec.num_classes else None
        self.blocks = nn.ModuleList(TransformerBlock(w, w) for _ in range(blocks))
        self.norm, self.last = nn.LayerNorm(w), zeroed(nn.Linear(w, numbers))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Latents (B, C, T, H, W) at times t (B,) -> velocities (B, C, T, H, W)."""
        condition = self.embed_time(time_waves(t, 64))
        condition = F.silu(condition if self.embed is None else condition + self.embed(label))
        # What is nearly 0 in some clips and large in others is seen beside the noise that is left.
        near = torch.asinh(x / (1 - t + NOISE).reshape(-1, 1, 1, 1, 1))
        return linear_velocity(x, t, self.data_std, lambda x: self.residual(torch.cat([x, near], 1), condition))

    def residual(self, x: Tensor, condition: Tensor) -> Tensor:
        """F: latents of about unit variance and the same beside their noise (B, 2 C, T, H, W), condition (B, D) ->
        (B, C, T, H, W)."""
        places = x.flatten(2).transpose(1, 2)  # (B, 2 C, T, H, W) -> (B, T H W, 2 C)
        tokens = places.unflatten(1, (-1, self.patch)).flatten(2)  # (B, N, 2 C * patch)
        h = self.first(tokens) + torch.einsum("bnc,ncd->bnd", tokens, self.own_first) + self.place
        for block in self.blocks:
            h = block(h, condition)
        h = self.norm(h)
        out = self.last(h) + torch.einsum("bnd,ndc->bnc", h, self.own_last)
        return out.unflatten(2, (self.patch, -1)).flatten(1, 2).transpose(1, 2).unflatten(2, x.shape[2:])
