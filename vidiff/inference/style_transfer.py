"""One frame in a style by optimization, starting from what the frame before became.

Gatys, Ecker, Bethge 2016, "Image Style Transfer Using Convolutional Neural Networks" (1508.06576), for films by Ruder,
Dosovitskiy, Brox 2016, "Artistic Style Transfer for Videos" (1604.08610). Of a frame p, with w the result before it
warped by the flow of the source, M where that was seen before, and relative errors |a - b|^2 / |b|^2:

    x minimizes  alpha content(F(x), F(p)) + beta mean_l style(G_l(x), S_l)         relative errors of maps and Grams
                 + gamma E (d_h x)^2 + (d_w x)^2                                     total variation
                 + delta E M (x - w)^2                                               temporal
    from         x = M w + (1 - M) c(p)                                             c(p): p in the style's colors

alpha -> `content`, beta -> `style`, gamma -> `smooth`, delta -> `temporal` of `Weights`. Deviations: relative errors,
so that one set of weights serves every network; L-BFGS for a fixed number of iterations; what was hidden before, and a
shot's first frame, start as c(p) instead of noise, which is further away; no consistency over several frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidiff.consistency import SEEN, StyleWeights, style_grams, style_terms
from vidiff.flow import FlowMethod, backward_flow
from vidiff.nn.style_maps import StyleExtractor
from vidiff.video.shots import is_cut
from vidiff.warp import warp_by_flow

FIRST = 4  # times as many iterations for a shot's first frame, which starts far away
VARIANCE = 1e-3  # least variance of colors, in units of [-1, 1]


@dataclass(frozen=True)
class Before:
    """A frame that is done: as it was read (uint8 (H, W, 3)), as it was worked on and its result (both (1, 3, h, w)),
    and the colors of its shot."""

    image: np.ndarray
    source: Tensor
    result: Tensor
    recolor: Callable[[Tensor], Tensor]


class Optimization:
    """Frames in a style, one after the other: `extract_content`, then `transfer`.

    Args:
        extract: see `style_extractor`.
        style: frames of the style (1, 3, h, w) in [-1, 1], of any sizes.
        weights: of the objective.
        iterations: of L-BFGS for a frame; 4 times as many for the first of a shot.
        flow: see `flow_method`; None: frame by frame, each on its own.
    """

    def __init__(
        self,
        extract: StyleExtractor,
        style: list[Tensor],
        weights: StyleWeights = StyleWeights(),
        iterations: int = 15,
        flow: FlowMethod | None = None,
    ):
        self.extract, self.weights, self.iterations, self.flow = extract, weights, iterations, flow
        self.grams = style_grams(extract, style)
        self.palette = torch.cat([frame.flatten(2) for frame in style], dim=2)[0]  # (3, pixels)

    @torch.no_grad()
    def extract_content(self, source: Tensor) -> Tensor:
        """The features (1, C, h', w') that tell what is in a frame (1, 3, h, w) in [-1, 1]."""
        return self.extract(source).content

    def transfer(self, image: np.ndarray, source: Tensor, content: Tensor, before: Before | None) -> Before:
        """A frame in the style.

        Args:
            image: the frame as it was read.
            source: the frame (1, 3, h, w) in [-1, 1].
            content: its features.
            before: the frame before it; None: there is none.
        """
        seen = warped = None
        if before is not None and self.flow is not None and not is_cut(before.image, image):
            flow, mask = (x[:, :, 0] for x in backward_flow(torch.stack([before.source, source], 2), self.flow))
            if float(mask.mean()) >= SEEN:
                seen, warped = mask, warp_by_flow(before.result, flow)
        if seen is None:
            recolor = before.recolor if before is not None and self.flow is None else color_map(source, self.palette)
            result = self._optimized(recolor(source), content, FIRST * self.iterations)
        else:
            recolor = before.recolor
            start = seen * warped + (1 - seen) * recolor(source)
            result = self._optimized(start, content, self.iterations, seen, warped)
        return Before(image, source, result, recolor)

    def _optimized(
        self, start: Tensor, content: Tensor, iterations: int, seen: Tensor | None = None, warped: Tensor | None = None
    ) -> Tensor:
        w = self.weights
        x = start.clone(memory_format=torch.contiguous_format).requires_grad_()
        solver = torch.optim.LBFGS([x], max_iter=iterations, tolerance_grad=0.0, tolerance_change=0.0, history_size=20)

        def objective() -> Tensor:
            solver.zero_grad()
            loss = sum(style_terms(x, self.extract(x), content, self.grams, w).values())
            if seen is not None:
                loss = loss + w.temporal * (seen * (x - warped).square()).mean()
            loss.backward()
            return loss

        with torch.enable_grad():
            solver.step(objective)
        return torch.nan_to_num(x.detach()).clamp(-1, 1)


def color_map(source: Tensor, palette: Tensor) -> Callable[[Tensor], Tensor]:
    """A function frames (1, 3, h, w) -> the same in other colors, clamped to [-1, 1]: the linear map that moves the
    mean and the covariance of the source's colors to the palette's, and each color as little as can be,
    T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2 (Pitie and Kokaram 2007).

    Args:
        source: (1, 3, h, w).
        palette: colors (3, n).
    """
    (mean_a, a), (mean_b, b) = (_moments(x) for x in (source[0].flatten(1), palette))
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    matrix = (inverse @ _power(root @ b @ root, 0.5) @ inverse).to(source)
    mean_a, mean_b = mean_a.to(source), mean_b.to(source)

    def recolor(frames: Tensor) -> Tensor:
        moved = matrix @ (frames.flatten(2) - mean_a) + mean_b  # (1, 3, h*w)
        return moved.view_as(frames).clamp(-1, 1)

    return recolor


def _moments(colors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3, 1) and covariance (3, 3), float64 on the CPU, of colors (3, n)."""
    x = colors.double().cpu()
    return x.mean(1, keepdim=True), torch.cov(x) + VARIANCE * torch.eye(3, dtype=torch.float64)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix with positive eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=1e-12).pow(exponent) @ vectors.T
