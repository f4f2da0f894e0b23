"""A small classifier of domains, trained on real clips only, to see how many translations it takes for real ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import uint8_to_unit, unit_to_signed

SIDE = 32  # clips are brought to this size first, so that the cost does not grow with the resolution


class DomainClassifier(nn.Module):
    """Three strided 3-D convolutions, mean over space and time, one logit a domain."""

    def __init__(self, domains: int, channels: int = 3, width: int = 16):
        super().__init__()
        layers: list[nn.Module] = []
        for i, (c_in, c_out) in enumerate([(channels, width), (width, 2 * width), (2 * width, 4 * width)]):
            layers += [nn.Conv3d(c_in, c_out, 3, (1 if i == 0 else 2, 2, 2), 1), nn.GroupNorm(4, c_out), nn.ReLU()]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(4 * width, domains)

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 clips (B, C, T, H, W) -> logits (B, K)."""
        x = unit_to_signed(uint8_to_unit(clips))
        if max(x.shape[-2:]) > SIDE:
            x = F.adaptive_avg_pool3d(x, (x.shape[2], SIDE, SIDE))
        return self.head(self.layers(x).mean((2, 3, 4)))

    @torch.no_grad()
    def classify(self, clips: Tensor, batch_size: int = 64) -> Tensor:
        """uint8 clips (B, C, T, H, W) -> domains (B,) on the CPU."""
        device = self.head.weight.device
        return torch.cat([self(part.to(device)).argmax(1).cpu() for part in clips.split(batch_size)])


def train_classifier(
    clips: list[Tensor], seed: int = 0, steps: int = 150, batch_size: int = 16, device: torch.device | str = "cpu"
) -> DomainClassifier:
    """A classifier of domains that is a function of (clips, seed) alone; a few seconds on one core.

    Args:
        clips: real training clips uint8 (N_k, C, T, H, W) of each domain, domain 0 first.
        steps: Adam steps (2e-3) on `batch_size` clips, every domain equally often.
    """
    # Also where the caller has switched gradients off, as Lightning does for `validate` and `test`.
    with torch.inference_mode(False), torch.enable_grad():
        return _train(clips, seed, steps, batch_size, torch.device(device))


def _train(clips: list[Tensor], seed: int, steps: int, batch_size: int, device: torch.device) -> DomainClassifier:
    with keyed.forked(seed, "classifier"):
        network = DomainClassifier(len(clips), clips[0].shape[1]).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(steps):
        labels = torch.arange(step * batch_size, (step + 1) * batch_size) % len(clips)
        picks = keyed.integers(range(batch_size), 2**31, seed, "classifier", step)
        batch = torch.stack([clips[k][int(i) % len(clips[k])] for k, i in zip(labels.tolist(), picks)])
        loss = F.cross_entropy(network(batch.to(device)), labels.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)
