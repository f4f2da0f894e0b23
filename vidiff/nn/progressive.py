"""Networks that grow in space and in time (Karras et al. 2018, 1710.10196), on clips.

Stage 0 is a 4x4 grid with a few frames; each further stage doubles space, the last ones time too, up to the clip.
A number `level` says where a network stands: stage s is finished at level s, and between s - 1 and s it fades in with
alpha = level - (s - 1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.blocks import ClassEmbedding, ladder, leaky_relu, minibatch_stddev
from vidiff.nn.generators import MAX_MULTIPLIER
from vidiff.nn.resampling import enlarge, shrink, thin_out


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean over channels of x^2), for (B, C, ...)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Equalized(nn.Module):
    """A convolution or linear layer with N(0, 1) weights that are scaled by gain / sqrt(fan_in) at each use.

    Adam then moves every layer at the same relative rate, whatever its size.

    Args:
        layer: the layer; its weights are drawn anew, its bias is set to zero.
        fan_in: inputs that each output sums over.
        gain: sqrt(2) before a rectifier, 1 elsewhere.
    """

    def __init__(self, layer: nn.Module, fan_in: float, gain: float = math.sqrt(2.0)):
        super().__init__()
        self.layer, self.scale = layer, gain / math.sqrt(fan_in)
        nn.init.normal_(layer.weight)
        nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        # Scaling the input is scaling the weights; the bias stays as it is.
        return self.layer(x * self.scale)


def _conv(a: int, b: int, kernel: int | tuple[int, int, int], gain: float = math.sqrt(2.0), padding: int = 0):
    conv = nn.Conv3d(a, b, kernel, padding=padding)
    return Equalized(conv, a * math.prod(conv.kernel_size), gain)


class _Growing(nn.Module):
    """Sizes and channels of the stages, and the level at which the network stands (saved with its weights)."""

    def __init__(self, spec: ClipSpec):
        super().__init__()
        steps, doublings = ladder(spec)
        if spec.num_frames % 2**doublings:
            raise ValueError(f"num_frames must be divisible by {2**doublings} to grow in time, got {spec.num_frames}")
        self.spec = spec
        self.times = [False] + [i >= steps - doublings for i in range(steps)]  # whether stage s doubles time
        self.t0 = spec.num_frames // 2**doublings
        top = 2 ** (steps - 1)
        self.channels = [max(4, spec.width * min(top, MAX_MULTIPLIER) // 2**s) for s in range(steps + 1)]
        self.register_buffer("level", torch.zeros(()))
        self.standing: float | None = None

    def stand(self) -> None:
        """Grow no more: the level becomes a number, which a trace of the network can decide by."""
        self.standing = float(self.level)

    @property
    def last(self) -> int:
        """The number of the stage of full size."""
        return len(self.channels) - 1

    def position(self) -> tuple[int, float]:
        """(stage, alpha): the stage that is in use and how far it has faded in, 0 < alpha <= 1."""
        level = float(self.level) if self.standing is None else self.standing
        level = min(max(level, 0.0), float(self.last))
        stage = math.ceil(level)
        return stage, 1.0 if stage == 0 else level - (stage - 1)

    def enlarge(self, x: Tensor, stage: int) -> Tensor:
        """From the size of stage - 1 to that of `stage`, nearest neighbour: frames are repeated."""
        return enlarge(x, self.times[stage])

    def reduce(self, x: Tensor, stage: int) -> Tensor:
        """From the size of `stage` to that of stage - 1: mean over 2x2 pixels, every second frame (a lower rate)."""
        return thin_out(x, 2, 2 if self.times[stage] else 1)

    def stage_of(self, clip: Tensor) -> int:
        """The stage whose height a clip has."""
        return (clip.shape[-2] // 4).bit_length() - 1

    def at_stage(self, clip: Tensor, stage: int) -> Tensor:
        """A clip of any stage's size, enlarged or reduced to that of `stage`."""
        for s in range(self.stage_of(clip) + 1, stage + 1):
            clip = self.enlarge(clip, s)
        for s in range(self.stage_of(clip), stage, -1):
            clip = self.reduce(clip, s)
        return clip


class GrowingGenerator(_Growing):
    """z -> 4x4 grid -> per stage nearest-neighbour enlargement and a convolution with pixel norm -> a clip.

    The clip of the current stage is enlarged to full size. Transposed convolutions in the place of the two steps start
    as a checkerboard in every new stage, which short stages do not unlearn.

    Args:
        spec: sizes; `width` is the number of channels one stage below the last. Raises ValueError where the frames
            cannot be halved often enough.
    """

    def __init__(self, spec: ClipSpec):
        super().__init__(spec)
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        inputs, c = spec.latent_dim * (2 if self.embed else 1), self.channels
        self.start = Equalized(nn.Linear(inputs, c[0] * self.t0 * 16 * spec.aspect), inputs)
        self.first = _conv(c[0], c[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for a, b in zip(c, c[1:]):
            self.blocks.append(_conv(a, b, 3, padding=1))
        self.to_clip = nn.ModuleList(_conv(n, spec.channels, 1, gain=1.0) for n in c)

    def render(self, z: Tensor, label: Tensor | None, stage: int, alpha: float = 1.0) -> Tensor:
        """z (B, Z) -> the clip at the size of `stage`: (1 - alpha) * enlarged stage - 1 + alpha * stage."""
        if self.embed is not None:
            z = torch.cat([z, self.embed(label).to(z.dtype)], dim=1)
        x = self.start(pixel_norm(z)).view(
            z.shape[0], -1, self.t0, 4, 4 * self.spec.aspect
        )  # (B, D t h w) -> (B, D, t, h, w)
        x = pixel_norm(F.leaky_relu(x, 0.2))
        x = pixel_norm(F.leaky_relu(self.first(x), 0.2))
        below = x
        for s, block in enumerate(self.blocks[:stage], start=1):
            below, x = x, pixel_norm(F.leaky_relu(block(self.enlarge(x, s)), 0.2))
        clip = self.to_clip[stage](x)
        if alpha < 1.0:
            clip = torch.lerp(self.enlarge(self.to_clip[stage - 1](below), stage), clip, alpha)
        return clip

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z (B, Z), label (B,) or None -> clip (B, C, T, H, W) of full size; linear output, as in the paper."""
        return self.at_stage(self.render(z, label, *self.position()), self.last)


class GrowingDiscriminator(_Growing):
    """The mirror image: clips, brought to the current stage's size -> per stage a convolution and a mean -> a logit.

    Args:
        spec: sizes, as for `GrowingGenerator`.
    """

    minibatch_std = True

    def __init__(self, spec: ClipSpec):
        super().__init__(spec)
        c = self.channels
        self.from_clip = nn.ModuleList(_conv(spec.channels, n, 1) for n in c)
        self.blocks = nn.ModuleList()
        for a, b in zip(c, c[1:]):
            self.blocks.append(_conv(b, a, 3, padding=1))
        self.last_conv = _conv(c[0] + 1, c[0], 3, padding=1)
        self.features = _conv(c[0], c[0], (self.t0, 4, 4 * spec.aspect))
        self.head = Equalized(nn.Linear(c[0], 1), c[0], gain=1.0)
        self.embed = ClassEmbedding(spec.num_classes, c[0]) if spec.num_classes else None

    def logits_at(self, clip: Tensor, label: Tensor | None, stage: int, alpha: float = 1.0) -> Tensor:
        """Logits (B,) of clips, reduced to the size of `stage`."""
        clip = self.at_stage(clip, stage)
        x = leaky_relu(self.from_clip[stage](clip), 0.2)
        for s in range(stage, 0, -1):
            x = shrink(leaky_relu(self.blocks[s - 1](x), 0.2), self.times[s])
            if s == stage and alpha < 1.0:
                below = leaky_relu(self.from_clip[s - 1](self.reduce(clip, s)), 0.2)
                x = torch.lerp(below, x, alpha)
        x = leaky_relu(self.last_conv(minibatch_stddev(x)), 0.2)
        x = leaky_relu(self.features(x), 0.2).flatten(1)  # (B, D, 1, 1, 1) -> (B, D)
        logits = self.head(x).squeeze(1)
        if self.embed is not None:
            logits = logits + (self.embed(label) * x).sum(1) * x.shape[1] ** -0.5
        return logits

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        return self.logits_at(clip, label, *self.position())
