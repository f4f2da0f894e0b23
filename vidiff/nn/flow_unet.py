"""A small U-Net on clips that is conditioned on a time, the sampler that integrates it, a critic of its way down."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.autoencoder import Pixels
from vidiff.nn.blocks import ClassEmbedding, Conv3d, check_frames

Solver = Literal["euler", "heun"]
HEAD = 32  # channels of an attention head
LEVELS = 3
Fold = tuple[int, int, int]


def fold(x: Tensor, by: Fold) -> Tensor:
    """Space (and time) to depth: (B, C, T, H, W) -> (B, C kt kh kw, T / kt, H / kh, W / kw)."""
    b, c, t, h, w = x.shape
    kt, kh, kw = by
    x = x.reshape(b, c, t // kt, kt, h // kh, kh, w // kw, kw).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, c * kt * kh * kw, t // kt, h // kh, w // kw)


def unfold(x: Tensor, by: Fold) -> Tensor:
    """The inverse of `fold`."""
    b, c, t, h, w = x.shape
    kt, kh, kw = by
    x = x.reshape(b, c // (kt * kh * kw), kt, kh, kw, t, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // (kt * kh * kw), t * kt, h * kh, w * kw)


def shifted(t: float | Tensor, shift: float) -> float | Tensor:
    """Times in [0, 1] moved towards noise: (1 - t) / t is `shift` times as much (Esser et al. 2024, 2403.03206)."""
    return t / (t + shift * (1 - t))


def time_waves(t: Tensor, count: int) -> Tensor:
    """t (B,) in [0, 1] -> (B, count): sines and cosines of half a period to fifty."""
    rates = torch.exp(torch.linspace(math.log(1.0), math.log(100.0), count // 2, device=t.device, dtype=t.dtype))
    angles = math.pi * t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def linear_velocity(x: Tensor, t: Tensor, data_std: float, residual: Callable[[Tensor], Tensor]) -> Tensor:
    """Velocity of x (B, ...) at t (B,) of which a network says only what a Gaussian cannot, see `FlowUNet3d`."""
    s, at = data_std, t.reshape(-1, *[1] * (x.ndim - 1))
    variance = (at * s).square() + (1 - at).square()
    return (at * s**2 - (1 - at)) / variance * x + s * variance.rsqrt() * residual(x * variance.rsqrt())


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer, its weights and bias 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def groups(channels: int) -> nn.GroupNorm:
    """GroupNorm of groups of 8 channels, or of fewer where they cannot be divided so."""
    return nn.GroupNorm(channels // math.gcd(channels, 8), channels)


class TimeConv(nn.Module):
    """A convolution over three frames at each pixel, written as one in two dimensions, 3.5 times as fast on a CPU."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        return self.layer(x.flatten(3)).unflatten(3, x.shape[3:])


class FlowBlock(nn.Module):
    """x + time(act(scale * norm(space(act(norm(x)))) + shift)): a (1, 3, 3) and a (3, 1, 1) convolution.

    The second begins at zero, so that a new block is the identity. Scale and shift come from the condition (Perez et
    al. 2018, 1709.07871).
    """

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.norms = nn.ModuleList([groups(channels), groups(channels)])
        self.space = Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1))
        self.time = TimeConv(channels)
        zeroed(self.time.layer)
        self.film = zeroed(nn.Linear(condition, 2 * channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None, None].chunk(2, dim=1)
        h = self.space(F.silu(self.norms[0](x)))
        return x + self.time(F.silu(self.norms[1](h) * (1 + scale) + shift))


class ClipAttention(nn.Module):
    """x + attention among all places and frames of a small grid; begins as the identity."""

    recomputed = True  # see `vidiff.nn.recompute`

    def __init__(self, channels: int):
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norm = groups(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, T H W, C)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, T H W, C')
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(seen).transpose(1, 2).unflatten(2, x.shape[2:])


class WayDown(nn.Module):
    """Clips or latents and a condition to features on three grids.

    Half the resolution (space to depth), a quarter, an eighth, the second and third with half the frames of the one
    before where their number is even (with `patch` 1 the whole resolution, a half, a quarter, as latents want it).
    Grids are changed by folding and a 1x1 convolution; on the coarsest all places attend to one another.

    Args:
        spec: sizes; `width` is the number of channels of the finest grid, twice and four times that of the others.
        blocks: per grid (and way, where there is one back).
        data_std: standard deviation of clips in [-1, 1]; latents have 1.
        patch: side of the squares of pixels that the finest grid has as places.

    Raises:
        ValueError: the resolution is no multiple of 4 patches, or `num_frames` not from 1 to 64.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 1, data_std: float = 0.5, patch: int = 2):
        super().__init__()
        check_frames(spec.num_frames)
        if spec.resolution % (least := patch * 2 ** (LEVELS - 1)):
            raise ValueError(f"resolution must be a multiple of {least}, got {spec.resolution}")
        self.spec, self.data_std, self.patch = spec, data_std, (1, patch, patch)
        self.widths = [spec.width * 2**i for i in range(LEVELS)]
        self.depth, frames = 4 * spec.width, spec.num_frames
        self.frequencies = 2 * spec.width
        self.embed_time = nn.Sequential(
            nn.Linear(self.frequencies, self.depth), nn.SiLU(), nn.Linear(self.depth, self.depth)
        )
        self.embed = ClassEmbedding(spec.num_classes, self.depth) if spec.num_classes else None
        self.pixels = patch**2 * spec.channels
        self.first = Conv3d(self.pixels, self.widths[0], (1, 3, 3), padding=(0, 1, 1))
        self.folds: list[Fold] = []
        for _ in range(LEVELS - 1):
            self.folds.append((1 if frames % 2 else 2, 2, 2))
            frames //= self.folds[-1][0]
        self.sizes = [math.prod(by) for by in self.folds]
        self.down = self.stages(blocks)
        self.coarser = nn.ModuleList(Conv3d(a * k, b, 1) for a, b, k in zip(self.widths, self.widths[1:], self.sizes))
        self.attention = ClipAttention(self.widths[-1])
        side = spec.resolution // least
        self.coarsest = (self.widths[-1], frames, side, spec.aspect * side)

    def stages(self, blocks: int) -> nn.ModuleList:
        """New blocks for each grid."""
        return nn.ModuleList(nn.ModuleList(FlowBlock(c, self.depth) for _ in range(blocks)) for c in self.widths)

    def condition(self, t: Tensor, label: Tensor | None) -> Tensor:
        """t (B,) in [0, 1] and labels, or shares of the classes (all 0: no class is given) -> (B, D)."""
        out = self.embed_time(time_waves(t, self.frequencies))
        return F.silu(out if self.embed is None else out + self.embed(label))

    def go_down(self, x: Tensor, condition: Tensor) -> list[Tensor]:
        """Clips of about unit variance (B, C, T, H, W), condition (B, D) -> features of each grid, fine to coarse."""
        h = self.first(fold(x, self.patch))
        ways: list[Tensor] = []
        for level, stage in enumerate(self.down):
            if level:
                h = self.coarser[level - 1](fold(h, self.folds[level - 1]))
            for block in stage:
                h = block(h, condition)
            ways.append(h)
        return [*ways[:-1], self.attention(h)]


class FlowUNet3d(WayDown):
    """The velocity of a clip on its way from noise to data.

    A way down, see `WayDown`, and one back; what the way up gets is added, not concatenated. The network only has to
    say what a Gaussian cannot: with data of standard deviation s, and x = (1 - t) z + t data,

        v(x, t) = (t s^2 - (1 - t)) / n^2 x + s / n F(x / n, t),    n^2 = t^2 s^2 + (1 - t)^2

    whose first part is the best velocity that is linear in x (Karras et al. 2022, 2206.00364, for a straight path).

    Args:
        spec, blocks, patch: see `WayDown`.
        data_std: s, see `WayDown`.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 1, data_std: float = 0.5, patch: int = 2):
        super().__init__(spec, blocks, data_std, patch)
        self.up = self.stages(blocks)
        self.finer = nn.ModuleList(Conv3d(b, a * k, 1) for a, b, k in zip(self.widths, self.widths[1:], self.sizes))
        self.norm = groups(self.widths[0])
        self.last = zeroed(Conv3d(self.widths[0], self.pixels, (1, 3, 3), padding=(0, 1, 1)))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Clips (B, C, T, H, W) at times t (B,) -> velocities (B, C, T, H, W)."""
        condition = self.condition(t, label)
        return linear_velocity(x, t, self.data_std, lambda x: self.residual(x, condition))

    def residual(self, x: Tensor, condition: Tensor) -> Tensor:
        """F: clips of about unit variance (B, C, T, H, W), condition (B, D) -> (B, C, T, H, W)."""
        *ways, h = self.go_down(x, condition)
        for level, stage in reversed(list(enumerate(self.up))):
            for block in stage:
                h = block(h, condition)
            if level:
                h = ways[level - 1] + unfold(self.finer[level - 1](h), self.folds[level - 1])
        return unfold(self.last(F.silu(self.norm(h))), self.patch)


class FlowDiscriminator(WayDown):
    """A critic that is a flow's way down at time 1, with a look at every grid: clips, or latents, to logits.

    So it can begin with what a trained flow sees (Lin et al. 2025, 2501.08316). Of each grid but the coarsest the mean
    over all places is kept, of the coarsest every place.

    Args:
        spec, blocks, data_std, patch: as the flow has them, see `WayDown`.
    """

    def __init__(self, spec: ClipSpec, blocks: int = 1, data_std: float = 0.5, patch: int = 2):
        super().__init__(spec, blocks, data_std, patch)
        self.looks = nn.ModuleList(nn.Sequential(groups(c), Conv3d(c, spec.width, 1), nn.SiLU()) for c in self.widths)
        self.head = nn.Linear(spec.width * (LEVELS - 1 + math.prod(self.coarsest[1:])), 1)

    def take_way_down(self, state: dict[str, Tensor]) -> None:
        """Begin with the weights of a flow's network.

        Raises:
            RuntimeError: its way down is another one.
        """
        own = {name for name in self.state_dict() if not name.startswith(("looks.", "head."))}
        missing = self.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False).missing_keys
        if lost := [name for name in missing if name in own]:
            raise RuntimeError(f"{lost[0]} is not in the flow's network")

    def forward(self, clip: Tensor, label: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W), label (B,) or None -> logits (B,)."""
        condition = self.condition(clip.new_ones(len(clip)), label)
        *fine, coarse = (look(h) for look, h in zip(self.looks, self.go_down(clip / self.data_std, condition)))
        return self.head(torch.cat([*(h.mean((2, 3, 4)) for h in fine), coarse.flatten(1)], 1)).squeeze(1)


class FlowSampler(nn.Module):
    """Noise to clips along dx/dt = v(x, t) from t = 0 to 1, in steps of Euler's or Heun's method.

    A step of Heun's has two looks at the network; its error falls with the square of the step. A guidance w other than
    1 has two looks for one, v = v' + w (v - v'): v' is what a worse network says, the `guide` (Karras et al. 2024,
    2406.02507), or without one, with labels, what the network says of no class (Ho and Salimans 2022, 2207.12598).

    Args:
        network: v(x, t, label).
        num_classes: of `network`, None where it takes no labels.
        steps: 1 or more.
        solver: `euler` or `heun`.
        guidance: w.
        codec: decodes what `network` makes, as `ClipAutoencoder` does; None: these are clips.
        guided: whether there is a guide, of the network's make; it says nothing until `take_guide`.
        shift: 1: steps are equal; above it they are shorter near noise, see `shifted`.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int | None = None,
        steps: int = 16,
        solver: Solver = "euler",
        guidance: float = 1.0,
        codec: nn.Module | None = None,
        guided: bool = False,
        shift: float = 1.0,
    ):
        super().__init__()
        self.network, self.num_classes = network, num_classes
        self.guide = copy.deepcopy(network).requires_grad_(False) if guided else None
        if guided:
            self.register_buffer("has_guide", torch.tensor(False))
        self.codec = (codec or Pixels()).requires_grad_(False)
        self.steps, self.solver, self.guidance, self.shift = steps, solver, guidance, shift

    def compile(self, *args, **kwargs) -> None:
        """Compile the network that is looked at, in training as in sampling."""
        self.network.compile(*args, **kwargs)

    def take_guide(self, network: nn.Module) -> None:
        """Let the guide be what a network is now."""
        self.guide.load_state_dict(network.state_dict())
        self.has_guide.fill_(True)

    def velocity(self, x: Tensor, t: float, label: Tensor | None) -> Tensor:
        """v at one time for all clips, guided."""
        at = torch.full_like(x[:, 0, 0, 0, 0], t)
        v = self.network(x, at, label)
        if self.guidance == 1.0:
            return v
        if self.guide is not None and self.has_guide:
            worse = self.guide(x, at, label)
        elif label is not None:
            worse = self.network(x, at, x.new_zeros(len(x), self.num_classes))
        else:
            return v
        return worse + self.guidance * (v - worse)

    def integrate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise shaped as clips or their latents, label (B,) or None -> the same of clips."""
        x, times = z, [shifted(i / self.steps, self.shift) for i in range(self.steps + 1)]
        for t, after in zip(times, times[1:]):
            step = after - t
            v = self.velocity(x, t, label)
            if self.solver == "heun":
                v = 0.5 * (v + self.velocity(x + step * v, after, label))
            x = x + step * v
        return x

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise shaped as clips or their latents, label (B,) or None -> clips (B, C, T, H, W), in about [-1, 1]."""
        return self.codec.decode(self.integrate(z, label))
