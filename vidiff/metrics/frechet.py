"""The one Fréchet distance of this package, and streaming moments for it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray | Tensor


def as_float64(x: Array) -> Tensor:
    """Any array -> float64 tensor on the CPU (some accelerators have no float64)."""
    if isinstance(x, Tensor):
        return x.detach().cpu().to(torch.float64)
    return torch.from_numpy(np.ascontiguousarray(np.asarray(x, dtype=np.float64)))


def half_factor(sigma: Tensor) -> Tensor:
    """H (D, k) with H H^T = sigma: eigenvectors scaled by the roots of the eigenvalues that are not rounding noise."""
    w, v = torch.linalg.eigh(sigma)  # ascending
    # Noise eigenvalues of 1e-17 would each add 3e-9 to the trace of the root; dropping them keeps FD(S, S) = 0.
    keep = w > w[-1].clamp(min=0) * sigma.shape[0] * torch.finfo(torch.float64).eps
    return v[:, keep] * w[keep].sqrt()


def _checked(name: str, mu: Array, sigma: Array) -> tuple[Tensor, Tensor]:
    mu, sigma = as_float64(mu).flatten(), as_float64(sigma)
    d = mu.numel()
    if tuple(sigma.shape) != (d, d):
        raise ValueError(f"frechet_distance: mu{name} has {d} entries, but sigma{name} is {tuple(sigma.shape)}")
    if not (torch.isfinite(mu).all() and torch.isfinite(sigma).all()):
        raise ValueError(f"frechet_distance: mu{name} or sigma{name} holds NaN or infinity")
    return mu, (sigma + sigma.T) / 2


def frechet_distance(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Squared Fréchet distance of two Gaussians: |mu1-mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).

    Dowson and Landau 1982; as FID: Heusel et al. 2017 (arXiv 1706.08500); as FVD: Unterthiner et al. 2018
    (arXiv 1812.01717). With half factors S = H H^T the last term is the nuclear norm of H1^T H2: only symmetric
    solvers, never complex, exact also where a covariance is singular.

    Args:
        mu1, mu2: means (D,), arrays or tensors of any float type; computed in float64.
        sigma1, sigma2: covariances (D, D).

    Returns:
        The distance, >= 0. A negative value within rounding (1e-6 of the traces) is returned as 0.

    Raises:
        ValueError: shapes differ, an input holds NaN or infinity, or the result is clearly negative (a `sigma` that
            is no covariance).
    """
    mu1, sigma1 = _checked("1", mu1, sigma1)
    mu2, sigma2 = _checked("2", mu2, sigma2)
    if mu1.numel() != mu2.numel():
        raise ValueError(f"frechet_distance: {mu1.numel()} features on one side, {mu2.numel()} on the other")
    mean_part = (mu1 - mu2).square().sum()
    traces = sigma1.trace() + sigma2.trace()
    h1, h2 = half_factor(sigma1), half_factor(sigma2)
    root = torch.linalg.svdvals(h1.T @ h2).sum() if h1.shape[1] and h2.shape[1] else torch.zeros((), dtype=mu1.dtype)
    value = float(mean_part + traces - 2 * root)
    # A symmetric matrix with a clearly negative eigenvalue has lost it in the half factor: say so, do not score it.
    for name, sigma, h in (("1", sigma1, h1), ("2", sigma2, h2)):
        lost = float(sigma.trace() - h.square().sum())
        if abs(lost) > 1e-6 * max(float(sigma.abs().trace()), 1e-300):
            raise ValueError(f"frechet_distance: sigma{name} is no covariance (negative eigenvalues sum to {lost:.3g})")
    if not math.isfinite(value) or value < -1e-6 * max(float(traces), 1e-300):
        raise ValueError(f"frechet_distance: result {value} is not a distance; are the covariances valid?")
    return max(value, 0.0)


class Moments:
    """Streaming count, mean and scatter M2 = sum (x-mean)(x-mean)^T in float64, merged pairwise (Chan et al. 1979).

    Unlike raw sums this keeps full precision where mean / standard deviation is large.

    Args:
        dim: number of features D.
    """

    def __init__(self, dim: int):
        self.n = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.m2 = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Array) -> Moments:
        """Add features (N, D); returns itself."""
        x = as_float64(features)
        if x.ndim != 2 or x.shape[1] != self.mean.numel():
            raise ValueError(f"expected features (N, {self.mean.numel()}), got {tuple(x.shape)}")
        if not torch.isfinite(x).all():
            raise ValueError("features hold NaN or infinity")
        if len(x):
            batch = Moments(x.shape[1])
            batch.n, batch.mean = len(x), x.mean(0)
            centred = x - batch.mean
            batch.m2 = centred.T @ centred
            self.merge(batch)
        return self

    def merge(self, other: Moments) -> Moments:
        """Add another set's moments; the result equals having seen both sets; returns itself."""
        if other.n == 0:
            return self
        n = self.n + other.n
        delta = other.mean - self.mean
        self.m2 = self.m2 + other.m2 + torch.outer(delta, delta) * (self.n * other.n / n)
        self.mean = self.mean + delta * (other.n / n)
        self.n = n
        return self

    def covariance(self, ddof: int = 1) -> Tensor:
        """Covariance (D, D) = M2 / (n - ddof)."""
        if self.n <= ddof:
            raise ValueError(f"a covariance with ddof={ddof} needs more than {ddof} samples, got {self.n}")
        return self.m2 / (self.n - ddof)

    def state(self) -> Tensor:
        """One float64 vector (1 + D + D*D,) = (n, mean, M2): what crosses processes and checkpoints."""
        return torch.cat([torch.tensor([float(self.n)], dtype=torch.float64), self.mean, self.m2.flatten()])

    @classmethod
    def from_state(cls, state: Tensor) -> Moments:
        """The inverse of `state`."""
        state = as_float64(state)
        dim = round((math.sqrt(4 * state.numel() - 3) - 1) / 2)  # numel = 1 + D + D^2
        out = cls(dim)
        out.n, out.mean, out.m2 = int(state[0]), state[1 : 1 + dim].clone(), state[1 + dim :].reshape(dim, dim).clone()
        return out


def moments(features: Array, chunk: int = 4096) -> Moments:
    """Moments of features (N, D), in chunks so that the float64 copy stays small."""
    out = Moments(features.shape[1])
    for i in range(0, len(features), chunk):
        out.update(features[i : i + chunk])
    return out


def frechet_from_features(real: Array, fake: Array, ddof: int = 1) -> float:
    """Fréchet distance of two feature sets (N, D) and (M, D)."""
    a, b = moments(real), moments(fake)
    return frechet_distance(a.mean, a.covariance(ddof), b.mean, b.covariance(ddof))


def block_distances(
    real: Tensor, fake: Tensor, blocks: Mapping[str, slice], ddof: int = 1, spread: float = 0.02
) -> dict[str, float]:
    """Fréchet distance of each block of features, every feature in units of its real standard deviation, divided by
    the number of the block's features.

    Args:
        real, fake: features (N, D) and (M, D).
        blocks: name -> columns.
        ddof: of the covariances.
        spread: the smallest standard deviation that counts as a unit, so that what is the same in (almost) all real
            clips is no division by nothing.
    """
    a, b = as_float64(real), as_float64(fake)
    mean, unit = a.mean(0), a.std(0, correction=ddof).clamp(min=spread)
    a, b = (a - mean) / unit, (b - mean) / unit
    return {name: frechet_from_features(a[:, at], b[:, at], ddof) / (at.stop - at.start) for name, at in blocks.items()}
