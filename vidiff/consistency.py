"""Losses that compare clips with clips: pure functions of clips, of what moves in them, or of their feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_frames, frames_to_clip
from vidiff.warp import warp_by_flow

SEEN = 0.25  # with less of a picture seen before, a new shot has begun
STILLNESS = 10.0  # how fast `stillness_loss` fades where the source moves, in units of [-1, 1] brightness


def laplacian(clip: Tensor, axis: str) -> Tensor:
    """Mean squared second difference of clips: how rough they are in space or in time.

    `time`: E (x[t-1] - 2 x[t] + x[t+1])^2; `space`: E (x[h-1] + x[h+1] + x[w-1] + x[w+1] - 4 x[h, w])^2, the
    five-point Laplacian; both over inner points only, and 0 where there are none.

    Args:
        clip: (B, C, T, H, W).
        axis: `space` or `time`.
    """
    if axis == "time":
        second = clip[:, :, 2:] - 2.0 * clip[:, :, 1:-1] + clip[:, :, :-2]
    elif axis == "space":
        x = clip[..., 1:-1, 1:-1]
        vertical = clip[..., 2:, 1:-1] + clip[..., :-2, 1:-1]
        second = vertical + clip[..., 1:-1, 2:] + clip[..., 1:-1, :-2] - 4.0 * x
    else:
        raise ValueError(f"axis must be space or time, got {axis!r}")
    return second.square().mean() if second.numel() else clip.sum() * 0.0


def reconstruction(output: Tensor, target: Tensor, kind: str = "l1", weights: Tensor | None = None) -> Tensor:
    """Mean over all elements of |output - target| (`l1`) or (output - target)^2 (`mse`).

    Args:
        output, target: clips (B, C, T, H, W).
        kind: `l1` or `mse`.
        weights: of the rows, (H,), of mean 1; None: all alike.
    """
    if kind in ("l1", "mse"):
        loss = F.l1_loss if kind == "l1" else F.mse_loss
        if weights is None:
            return loss(output, target)
        return (loss(output, target, reduction="none") * weights.to(output)[:, None]).mean()
    raise ValueError(f"reconstruction must be l1 or mse, got {kind!r}")


def stillness_loss(output: Tensor, source: Tensor) -> Tensor:
    """E |d_t output| exp(-10 |d_t source|): a translation does not move where its source does not.

    Args:
        output, source: clips (B, C, T, H, W) in [-1, 1], T >= 2; |d_t source| is the mean over channels.
    """
    still = torch.exp(-STILLNESS * source.diff(dim=2).abs().mean(1, keepdim=True))  # (B, 1, T-1, H, W)
    return (still * output.diff(dim=2).abs()).mean()


def flow_consistency(output: Tensor, flow: Tensor, seen: Tensor, kind: str = "l1") -> Tensor:
    """E |M (y_{t+1}(p) - y_t(p + f(p)))|: a translation moves as its source does (Lai et al. 2018, 1808.00449).

    Args:
        output: y, clips (B, C, T, H, W).
        flow: f, the source's flow from frame t+1 to frame t (B, 2, T-1, H, W) in pixels, `vidiff.flow.backward_flow`.
        seen: M, (B, 1, T-1, H, W), 0 where the source's pixel was hidden before. Hidden pixels count as errors of 0.
        kind: `l1`, or `mse`: squares in the place of absolute values (Ruder et al. 2016, 1604.08610).
    """
    return reconstruction(seen * output[:, :, 1:], seen * before_it(output, flow), kind)


def before_it(clip: Tensor, flow: Tensor) -> Tensor:
    """Frames 0 .. T-2 of a clip (B, C, T, H, W), each moved to the one after it by the flow (B, 2, T-1, H, W)."""
    warped = warp_by_flow(clip_to_frames(clip[:, :, :-1]), clip_to_frames(flow))  # (B*(T-1), C, H, W)
    return frames_to_clip(warped, clip.shape[2] - 1)


def within_shots(seen: Tensor) -> Tensor:
    """What was seen before, (B, 1, T-1, H, W) of zeros and ones, and nothing where it is so little that a new shot has
    begun."""
    return seen * (seen.mean((3, 4), keepdim=True) >= SEEN)


def warp_error(clip: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
    """Mean |y_{t+1} - w(y_t)| over what was seen before, (B, T-1); NaN where nothing was (Lai et al. 2018, 1808.00449).

    Args:
        clip, flow, seen: see `flow_consistency`.
    """
    apart = (seen * (clip[:, :, 1:] - before_it(clip, flow))).abs().sum((1, 3, 4))  # (B, T-1)
    return apart / (clip.shape[1] * seen.sum((1, 3, 4)))


def feature_distance(maps: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean over layers l of E (phi_l - phi'_l)^2, the feature reconstruction loss (Johnson et al. 2016, 1603.08155).

    Args:
        maps, targets: feature maps of one clip and of another, layer by layer.
    """
    return torch.stack([F.mse_loss(a, b) for a, b in zip(maps, targets, strict=True)]).mean()


def gram(maps: Tensor) -> Tensor:
    """Gram matrices of feature maps (N, C, H, W): how much channels go together, wherever: F F^T / (H W), (N, C, C)."""
    flat = maps.flatten(2)  # (N, C, H, W) -> (N, C, H*W)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean over pictures (N, ...) of |found - wanted|^2 / |wanted|^2: of one size whatever network a map is of."""
    apart, size = ((found - wanted).square().flatten(1).sum(1), wanted.square().flatten(1).sum(1))
    return (apart / size.clamp(min=1e-12)).mean()


@torch.no_grad()
def style_grams(extract: Callable[[Tensor], Any], style: Iterable[Tensor]) -> list[Tensor]:
    """The Gram matrices of a style, (1, C_l, C_l) for each layer: the mean over its frames.

    Args:
        extract: see `vidiff.nn.style_maps.style_extractor`.
        style: frames (1, 3, h, w) in [-1, 1], of any sizes.
    """
    layers = zip(*(extract(frame).layers for frame in style))
    return [torch.stack([gram(maps) for maps in layer]).mean(0) for layer in layers]


def style_loss(layers: list[Tensor], grams: list[Tensor]) -> Tensor:
    """Mean over layers and pictures of |G_l - S_l|^2 / |S_l|^2 (Gatys et al. 2016, 1508.06576, there with weights
    1 / (4 N^2 M^2)).

    Args:
        layers: feature maps of pictures (N, C_l, H_l, W_l).
        grams: Gram matrices of the style, (1, C_l, C_l).
    """
    found = [relative_error(gram(maps), target.expand(len(maps), -1, -1)) for maps, target in zip(layers, grams)]
    return torch.stack(found).mean()


def gram_distance(layers: list[Tensor], grams: list[Tensor]) -> Tensor:
    """Mean over layers of |G_l - S_l| / |S_l| of each picture, (N,); see `style_loss`."""
    found = [(gram(m) - s).flatten(1).norm(dim=1) / s.norm().clamp(min=1e-6) for m, s in zip(layers, grams)]
    return torch.stack(found).mean(0)


@dataclass(frozen=True)
class StyleWeights:
    """Of the terms of a picture in a style, and of the one of successive pictures: alpha, beta, gamma and delta."""

    content: float = 1.0
    style: float = 5.0
    smooth: float = 1.0
    temporal: float = 200.0


def style_terms(y: Tensor, maps: Any, content: Tensor, grams: list[Tensor], weights: StyleWeights) -> dict[str, Tensor]:
    """The weighted terms of pictures y (N, 3, H, W) in a style (Gatys et al. 2016, 1508.06576; Johnson et al. 2016,
    1603.08155): `content`, `smooth` and `style`, relative errors of feature maps and Gram matrices, total variation.

    Args:
        maps: `StyleMaps` of y.
        content: feature maps of what y is made of.
        grams: of the style, see `style_grams`.
        weights: alpha, gamma and beta are used.
    """
    return {
        "content": weights.content * relative_error(maps.content, content),
        "smooth": weights.smooth * total_variation(y),
        "style": weights.style * style_loss(maps.layers, grams),
    }


def total_variation(frames: Tensor) -> Tensor:
    """E (x[h+1] - x[h])^2 + E (x[w+1] - x[w])^2 of frames (N, C, H, W)."""
    return frames.diff(dim=2).square().mean() + frames.diff(dim=3).square().mean()
