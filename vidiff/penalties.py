"""Gradient penalties: pure functions of (network, clips), in float32 (or better) with autocast off.

A network here is any callable clips (B, C, T, H, W) -> logits (B, ...). Norms run over all non-batch dimensions.

Where a clip has P logits (patches, pixels, an ensemble), D(x) is their mean, as it is in the losses: the penalised
function is the one that plays, whatever P is, and repeating a logit changes nothing. A game whose paper penalises the
sum hands in a network that returns the sum (StarGAN).
"""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Critic = Callable[[Tensor], Tensor]


def _logits_and_gradient(network: Critic, clips: Tensor) -> tuple[Tensor, Tensor]:
    """network(clips), and d D(clip) / d clip as (B, N), D the mean of a clip's logits; differentiable once more."""
    clips = clips.detach()
    clips = clips.requires_grad_(True) if clips.dtype == torch.float64 else clips.float().requires_grad_(True)
    # Of the kernels for attention only the plain one has a second derivative.
    with torch.autocast(clips.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
        logits = network(clips)
        of_clips = logits.reshape(len(logits), -1).mean(1)  # (B, ...) -> (B,)
        (gradient,) = torch.autograd.grad(of_clips.sum(), clips, create_graph=True)
    return logits, gradient.flatten(1)  # (B, C, T, H, W) -> (B, N)


def _gradient(network: Critic, clips: Tensor) -> Tensor:
    return _logits_and_gradient(network, clips)[1]


def logits_and_penalty(network: Critic, clips: Tensor) -> tuple[Tensor, Tensor]:
    """D(x) and 1/2 E |grad D(x)|_2^2 from one forward: R1 on real clips, R2 on generated ones."""
    logits, gradient = _logits_and_gradient(network, clips)
    return logits, 0.5 * gradient.square().sum(1).mean()


def difference_penalty(network: Critic, clips: Tensor, logits: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """1/2 ((D(x + sigma e) - D(x)) / sigma)^2 of each clip, (B,): without a second derivative.

    For small sigma its mean over e ~ N(0, I) is 1/2 |grad D(x)|^2, that of R1 and R2 (Lin et al. 2025, 2501.08316); the
    standard deviation of one draw is 1.4 times the value, as of a squared normal. In half precision the difference of
    two logits would be rounding: float32.

    Args:
        network: the same function as gave `logits`, augmentation included.
        clips: (B, C, T, H, W).
        logits: network(clips), (B, ...).
        noise: e, of the clips' shape.
        sigma: in units of the clips, whose range is [-1, 1].
    """
    near = network(clips + sigma * noise)
    moved = (near - logits).reshape(len(clips), -1).mean(1)  # (B, ...) -> (B,)
    return 0.5 * (moved / sigma).square()


def gradient_penalty(network: Critic, real: Tensor, fake: Tensor, mix: Tensor, target: float = 1.0) -> Tensor:
    """E (|grad D(x_hat)|_2 - target)^2 at x_hat = mix * real + (1 - mix) * fake (Gulrajani et al. 2017, 1704.00028).

    Args:
        real, fake: clips (B, C, T, H, W).
        mix: uniform numbers in [0, 1], (B,), one a clip.
        target: the gradient norm that costs nothing.
    """
    mix = mix.to(real).view(-1, *[1] * (real.ndim - 1))  # (B,) -> (B, 1, 1, 1, 1)
    gradient = _gradient(network, mix * real + (1.0 - mix) * fake)
    # The root has no derivative at 0: a critic that ignores its input would turn the penalty into NaN.
    norm = (gradient.square().sum(1) + 1e-12).sqrt()
    return (norm - target).square().mean()


def r1_penalty(network: Critic, real: Tensor) -> Tensor:
    """1/2 E |grad D(x)|_2^2 on real clips (Mescheder et al. 2018, 1801.04406); weight it by gamma."""
    return 0.5 * _gradient(network, real).square().sum(1).mean()


def r2_penalty(network: Critic, fake: Tensor) -> Tensor:
    """1/2 E |grad D(G(z))|_2^2 on generated clips (Mescheder et al. 2018, 1801.04406); weight it by gamma."""
    return r1_penalty(network, fake)


@torch.no_grad()
def clip_weights_(module: torch.nn.Module, bound: float) -> None:
    """Clamp every parameter to [-bound, bound] in place (Arjovsky et al. 2017, 1701.07875)."""
    for p in module.parameters():
        p.clamp_(-bound, bound)
