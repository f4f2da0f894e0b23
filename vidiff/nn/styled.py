"""Translation between many domains in which the target is told to every layer: a generator and a discriminator.

The generator's norms have scales and offsets of their own for each target (Dumoulin et al. 2017, 1610.07629; Huang and
Belongie 2017, 1703.06868), the discriminator a logit for each domain instead of a classifier (Choi et al. 2020,
StarGAN v2, 1912.01865). In StarGAN's own networks (`vidiff.nn.resnet`) the target is a constant plane.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import Conv3d, LeakyReLU, check_frames, initialize, spatial_stages, time_doublings
from vidiff.nn.clip_layers import ClipConv, Conv, Padding, Up, doubling
from vidiff.nn.resnet import strided

SLOPE = 0.2  # of the leaky rectifiers


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


class StyledNorm(nn.Module):
    """Instance norm over (T, H, W) whose scale and offset are linear in a code; 1 and 0 of a code of zeros."""

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels)
        self.affine = nn.Linear(dim, 2 * channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x (B, C, T, H, W), code (B, D) -> like x."""
        scale, offset = self.affine(code)[..., None, None, None].chunk(2, dim=1)  # each (B, C, 1, 1, 1)
        return self.norm(x) * (1.0 + scale) + offset


class StyledBlock(nn.Module):
    """x + conv3(act(norm(conv3(act(norm(x))))))."""

    def __init__(self, channels: int, dim: int, **conv):
        super().__init__()
        self.norms = nn.ModuleList(StyledNorm(channels, dim) for _ in range(2))
        self.convs = nn.ModuleList(ClipConv(channels, channels, 3, **conv) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs):
            y = conv(act(norm(y, code)))
        return x + y


class StyledGenerator(nn.Module):
    """A clip and a target -> the clip in the target's domain; begins as (nearly) a copy.

    A code of what the clip looks like (means and deviations of its colors and of first features) and of the target sets
    every norm and a color transform: out = tanh(layers(x; code) + A(code) x + b(code)), with A = 1.5 I, b = 0 and the
    last of `layers` 0 at the start (tanh(1.5 x) stays within 0.15 of x). Features of the way down are added on the way
    up, so that fine lines need not pass through a quarter of the sides.

    Args:
        spec: sizes; `width` channels at the clip's size, four times as many at a quarter of its sides; `num_classes`
            domains.
        blocks: residual blocks at a quarter of the sides.
        fine: residual blocks at the clip's size, on the way up.
        dim: length of the code.
        conv, padding, up: as in `ResnetGenerator`.
    """

    unbounded = True  # the code looks at the whole clip

    def __init__(
        self,
        spec: ClipSpec,
        blocks: int = 3,
        fine: int = 1,
        dim: int = 64,
        conv: Conv = "factorized",
        padding: Padding = "replicate",
        up: Up = "resize",
    ):
        super().__init__()
        check_frames(spec.num_frames)
        spatial_stages(spec.resolution)
        self.domains, c, w = spec.num_classes or 0, spec.channels, spec.width
        own = dict(time=3 if spec.num_frames > 1 else 1, conv=conv, padding=padding)
        per_frame = {**own, "time": 1, "bias": True}
        self.enter = ClipConv(c, w, 7, **per_frame)
        self.down = nn.ModuleList(ClipConv(a, 2 * a, 4, 2, **own) for a in (w, 2 * w))
        self.down_norms = nn.ModuleList(StyledNorm(a, dim) for a in (w, 2 * w))
        self.blocks = nn.ModuleList(StyledBlock(4 * w, dim, **own) for _ in range(blocks))
        self.up_norms = nn.ModuleList(StyledNorm(a, dim) for a in (4 * w, 2 * w))
        self.up = nn.ModuleList(doubling(up, a, a // 2, 4, per_frame) for a in (4 * w, 2 * w))
        self.fine = nn.ModuleList(StyledBlock(w, dim, **per_frame) for _ in range(fine))
        self.last_norm, self.last = StyledNorm(w, dim), ClipConv(w, c, 7, **per_frame)
        self.code = nn.Sequential(
            nn.Linear(2 * (c + w) + self.domains, dim), LeakyReLU(SLOPE), nn.Linear(dim, dim), LeakyReLU(SLOPE)
        )
        self.colors = nn.Linear(dim, c * c + c)
        self._begin()

    def _begin(self) -> None:
        initialize(self, "kaiming")
        for m in self.modules():
            if isinstance(m, ClipConv) and m.time is not None:
                nn.init.dirac_(m.time.weight)
            elif isinstance(m, StyledNorm):
                nn.init.normal_(m.affine.weight, 0.0, 0.02)
        for weight in (self.last.space.weight, self.colors.weight):
            nn.init.zeros_(weight)

    def look(self, clip: Tensor, first: Tensor, label: Tensor) -> Tensor:
        """The code (B, D) of a clip, its first features and a target."""
        seen = torch.cat([clip, first], dim=1).flatten(2)  # (B, C + W, T H W)
        deviation = (seen.var(dim=2, correction=0) + 1e-6).sqrt()
        target = F.one_hot(label, self.domains).to(clip.dtype)  # (B, K)
        return self.code(torch.cat([seen.mean(dim=2), deviation, target], dim=1))

    def forward(self, clip: Tensor, label: Tensor) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], target label (B,) -> clip of the same shape."""
        x = self.enter(clip)
        code = self.look(clip, x, label)
        kept = []
        for norm, down in zip(self.down_norms, self.down):
            kept.append(x)
            x = down(act(norm(x, code)))
        for block in self.blocks:
            x = block(x, code)
        for norm, up in zip(self.up_norms, self.up):
            x = up(act(norm(x, code))) + kept.pop()
        for block in self.fine:
            x = block(x, code)
        drawn = self.last(act(self.last_norm(x, code)))
        c = clip.shape[1]
        matrix, offset = self.colors(code).split([c * c, c], dim=1)
        turn = matrix.unflatten(1, (c, c)) + 1.5 * torch.eye(c, device=clip.device, dtype=clip.dtype)  # (B, C, C)
        colored = torch.einsum("bij,bjthw->bithw", turn, clip) + offset[..., None, None, None]
        return torch.tanh(drawn + colored)


class DomainDiscriminator(nn.Module):
    """Patch logits, one map for each domain; the label says which of them is asked (StarGAN v2, 1912.01865).

    The layers of `PatchDiscriminator` without norms: an instance norm takes the brightness of a clip away.

    Args:
        spec: sizes; `width` is the 64 of the paper, `num_classes` the number of domains.
        layers: strided layers; fewer where the clip is too small to leave a 4 x 4 grid.
    """

    def __init__(self, spec: ClipSpec, layers: int = 2):
        super().__init__()
        check_frames(spec.num_frames)
        layers = min(layers, spatial_stages(spec.resolution))
        halvings, time = time_doublings(spec.num_frames, layers), spec.num_frames > 1
        channels = [spec.channels] + [spec.width * min(2**i, 8) for i in range(layers + 1)]
        modules: list[nn.Module] = []
        for i in range(layers):
            modules += [strided(channels[i], channels[i + 1], i < halvings, time), LeakyReLU(SLOPE)]
        kernel, pad = ((3, 4, 4), 1) if time else ((1, 4, 4), (0, 1, 1))
        modules += [Conv3d(channels[-2], channels[-1], kernel, padding=pad), LeakyReLU(SLOPE)]
        modules += [Conv3d(channels[-1], max(1, spec.num_classes or 0), kernel, padding=pad)]
        self.layers = nn.Sequential(*modules)
        initialize(self, "kaiming")

    def forward(self, clip: Tensor, label: Tensor) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1], domains (B,) -> logits of these domains (B, 1, T', H', W')."""
        maps = self.layers(clip)  # (B, K, T', H', W')
        return maps[torch.arange(len(label), device=label.device), label][:, None]
