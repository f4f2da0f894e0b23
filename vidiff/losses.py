"""Adversarial losses: pure functions of logits.

| game | discriminator minimises | generator minimises | paper |
|---|---|---|---|
| non-saturating | E softplus(-D(x)) + E softplus(D(G(z))) | E softplus(-D(G(z))) | Goodfellow et al. 2014, 1406.2661 |
| Wasserstein | E D(G(z)) - E D(x) | -E D(G(z)) | Arjovsky et al. 2017, 1701.07875 |
| least squares | 1/2 E (D(x)-b)^2 + 1/2 E (D(G(z))-a)^2 | 1/2 E (D(G(z))-c)^2 | Mao et al. 2017, 1611.04076 |
| loss-sensitive, D = -L | E max(0, margin - D(x) + D(G(z))) | -E D(G(z)) | Qi 2017, 1701.06264 |
| hinge | E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) | -E D(G(z)) | Lim and Ye 2017, 1705.02894 |
| relativistic pairing | E softplus(-(D(x)-D(G(z)))) | E softplus(-(D(G(z))-D(x))) | Huang et al. 2024, 2501.05441 |

Every discriminator loss is returned as its real and its fake part, so that both can be watched.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def standard_d(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> tuple[Tensor, Tensor]:
    """-log sigmoid(D(x)) and -log(1 - sigmoid(D(G(z)))), as softplus of the logits.

    Args:
        real_logits, fake_logits: any shape, averaged.
        real_label: target probability for real clips; below 1 is one-sided label smoothing (Salimans et al. 2016,
            1606.03498): L = t * softplus(-l) + (1 - t) * softplus(l).
    """
    real = real_label * F.softplus(-real_logits) + (1.0 - real_label) * F.softplus(real_logits)
    return real.mean(), F.softplus(fake_logits).mean()


def standard_g(fake_logits: Tensor) -> Tensor:
    """The non-saturating form -log sigmoid(D(G(z)))."""
    return F.softplus(-fake_logits).mean()


def wasserstein_d(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """-E D(x) and +E D(G(z)); minus their sum estimates the Wasserstein-1 distance."""
    return -real_logits.mean(), fake_logits.mean()


def wasserstein_g(fake_logits: Tensor) -> Tensor:
    """-E D(G(z))."""
    return -fake_logits.mean()


def least_squares_d(real_logits: Tensor, fake_logits: Tensor, a: float = 0.0, b: float = 1.0) -> tuple[Tensor, Tensor]:
    """1/2 E (D(x) - b)^2 and 1/2 E (D(G(z)) - a)^2."""
    return 0.5 * (real_logits - b).square().mean(), 0.5 * (fake_logits - a).square().mean()


def least_squares_g(fake_logits: Tensor, c: float = 1.0) -> Tensor:
    """1/2 E (D(G(z)) - c)^2."""
    return 0.5 * (fake_logits - c).square().mean()


def hinge_d(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """E max(0, 1 - D(x)) and E max(0, 1 + D(G(z))): what is beyond the margin costs D nothing."""
    return F.relu(1.0 - real_logits).mean(), F.relu(1.0 + fake_logits).mean()


def hinge_g(fake_logits: Tensor) -> Tensor:
    """-E D(G(z))."""
    return -fake_logits.mean()


def relativistic_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E softplus(-(D(x_i) - D(G(z_i)))), clip i of one side paired with clip i of the other.

    (Jolicoeur-Martineau 2018, 1807.00734; as R3GAN has it: Huang et al. 2024, 2501.05441.)
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E softplus(-(D(G(z_i)) - D(x_i))): D's loss with the two sides exchanged."""
    return relativistic_d(fake_logits, real_logits)


def loss_sensitive_d(real_loss: Tensor, fake_loss: Tensor, margin: Tensor) -> Tensor:
    """E max(0, margin_i + L(x_i) - L(G(z_i))) (Qi 2017, 1701.06264), clip i paired with clip i.

    Args:
        real_loss, fake_loss: L, (B,); small = realistic.
        margin: by how much the loss of a generated clip has to exceed that of its partner, (B,).
    """
    return F.relu(margin + real_loss - fake_loss).mean()
