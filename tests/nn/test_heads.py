"""Heads: shapes, no projection of a label that is predicted, and what is refused."""

from __future__ import annotations

import pytest
import torch

from vidiff.clip import ClipSpec
from vidiff.nn.heads import HeadedDiscriminator

SMALL = ClipSpec(3, 6, 16, width=4, latent_dim=4)


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


def test_heads():
    spec = ClipSpec(3, 4, 16, width=4, num_classes=3)
    d = HeadedDiscriminator(spec, norm="layer", numbers=["speed"])
    logits, said = d(clips(spec), torch.tensor([0, 1]))
    assert logits.shape == (2,) and said["class"].shape == (2, 3) and said["speed"].shape == (2,)
    assert d.embed is None  # it is not told what it has to find
    assert HeadedDiscriminator(spec, classes=False, numbers=["speed"]).embed is not None
    with pytest.raises(ValueError, match="num_classes"):
        HeadedDiscriminator(SMALL)
    with pytest.raises(ValueError, match="at least one"):
        HeadedDiscriminator(spec, classes=False)
