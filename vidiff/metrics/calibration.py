"""Probabilities that mean what they say: a temperature, how far they are off, and a plain softmax regression."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 10


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: (N, K) of clips that nothing was trained on.
        labels: (N,).
    """
    grid = torch.logspace(-1.5, 1.5, 121, dtype=torch.float64)
    losses = [float(F.cross_entropy(logits.double() / t, labels)) for t in grid]
    return float(grid[min(range(len(losses)), key=losses.__getitem__)])


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> list[tuple[int, float, float]]:
    """(count, mean confidence, share that is right) of the clips by the probability of their most likely class.

    Args:
        probabilities: (N, K).
        labels: (N,).
        bins: of equal width over [0, 1]; empty ones are left out.
    """
    confidence, chosen = probabilities.max(1)
    right = (chosen == labels).double()
    place = (confidence * bins).long().clamp(max=bins - 1)
    rows = []
    for b in range(bins):
        if n := int((place == b).sum()):
            rows.append((n, float(confidence[place == b].double().mean()), float(right[place == b].mean())))
    return rows


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: the mean of |confidence - share right| over the bins of `reliability`."""
    rows = reliability(probabilities, labels, bins)
    return sum(n * abs(confidence - right) for n, confidence, right in rows) / max(1, len(labels))


class SoftmaxRegression:
    """Classes of standardized features by one linear layer with an L2 penalty, fit to its optimum (L-BFGS, float64).

    Args:
        features: (N, D).
        labels: (N,), classes 0 .. K - 1.
        num_classes: K.
        penalty: of the mean loss, on half the squared weights.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, penalty: float = 1e-3):
        x = features.double()
        self.mean, self.spread = x.mean(0), x.std(0).clamp(min=1e-8)
        x = (x - self.mean) / self.spread
        self.weight = torch.zeros(x.shape[1], num_classes, dtype=torch.float64, requires_grad=True)
        self.bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([self.weight, self.bias], max_iter=200, line_search_fn="strong_wolfe")
        counts = torch.bincount(labels, minlength=num_classes).double().clamp(min=1)
        balance = len(labels) / (num_classes * counts)

        def objective() -> Tensor:
            solver.zero_grad()
            each = F.cross_entropy(x @ self.weight + self.bias, labels, reduction="none")
            loss = (each * balance[labels]).mean() + 0.5 * penalty * self.weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            solver.step(objective)
        self.weight, self.bias = self.weight.detach(), self.bias.detach()

    def logits(self, features: Tensor) -> Tensor:
        """(M, D) -> (M, K)."""
        return (features.double() - self.mean) / self.spread @ self.weight + self.bias
