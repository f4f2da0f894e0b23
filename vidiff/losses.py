"""Adversarial and reconstruction losses: pure functions of logits or clips.

| game | discriminator minimises | generator minimises | paper |
|---|---|---|---|
| non-saturating | E softplus(-D(x)) + E softplus(D(G(z))) | E softplus(-D(G(z))) | Goodfellow et al. 2014, 1406.2661 |
| Wasserstein | E D(G(z)) - E D(x) | -E D(G(z)) | Arjovsky et al. 2017, 1701.07875 |
| least squares | 1/2 E (D(x)-b)^2 + 1/2 E (D(G(z))-a)^2 | 1/2 E (D(G(z))-c)^2 | Mao et al. 2017, 1611.04076 |
| loss-sensitive, D = -L | E max(0, margin - D(x) + D(G(z))) | -E D(G(z)) | Qi 2017, 1701.06264 |
| relativistic pairing | E softplus(-(D(x)-D(G(z)))) | E softplus(-(D(G(z))-D(x))) | Huang et al. 2024, 2501.05441 |

Every discriminator loss is returned as its real and its fake part, so that both can be watched.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.clip import clip_to_frames, frames_to_clip
from vidiff.flow import warp

STILLNESS = 10.0  # how fast `still_where_still` fades where the source moves, in units of [-1, 1] brightness


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


def reconstruction(output: Tensor, target: Tensor, kind: str = "l1") -> Tensor:
    """Mean over all elements of |output - target| (`l1`) or (output - target)^2 (`mse`)."""
    if kind == "l1":
        return F.l1_loss(output, target)
    if kind == "mse":
        return F.mse_loss(output, target)
    raise ValueError(f"reconstruction must be l1 or mse, got {kind!r}")


def still_where_still(output: Tensor, source: Tensor) -> Tensor:
    """E |d_t output| exp(-10 |d_t source|): a translation does not move where its source does not.

    Args:
        output, source: clips (B, C, T, H, W) in [-1, 1], T >= 2; |d_t source| is the mean over channels.
    """
    still = torch.exp(-STILLNESS * source.diff(dim=2).abs().mean(1, keepdim=True))  # (B, 1, T-1, H, W)
    return (still * output.diff(dim=2).abs()).mean()


def flow_consistency(output: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
    """E |M (y_{t+1}(p) - y_t(p + f(p)))|: a translation moves as its source does (Lai et al. 2018, 1808.00449).

    Args:
        output: y, clips (B, C, T, H, W).
        flow: f, the source's flow from frame t+1 to frame t (B, 2, T-1, H, W) in pixels, see `vidiff.flow.motion_back`.
        seen: M, (B, 1, T-1, H, W), 0 where the source's pixel was hidden before. Hidden pixels count as errors of 0.
    """
    before = warp(clip_to_frames(output[:, :, :-1]), clip_to_frames(flow))  # (B*(T-1), C, H, W)
    return (seen * (output[:, :, 1:] - frames_to_clip(before, output.shape[2] - 1))).abs().mean()


def feature_distance(maps: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean over layers l of E (phi_l - phi'_l)^2, the feature reconstruction loss (Johnson et al. 2016, 1603.08155).

    Args:
        maps, targets: feature maps of one clip and of another, layer by layer.
    """
    return torch.stack([F.mse_loss(a, b) for a, b in zip(maps, targets, strict=True)]).mean()
