"""A function of clips as an augmentation: signed clips, no gradients, no part of the pipeline."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidiff.augment import (
    ContentTransform,
    build_augment,
)
from vidiff.errors import UsageError

KEY = (7, "augment", 3)


def clips(b=6, c=3, t=5, h=16, w=16, seed=0):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(seed))


def test_content_transform_gets_signed_clips_and_stays_outside():
    seen = []

    def transform(clip):
        seen.append(clip)
        return -clip

    clip = clips(40)
    out = build_augment([ContentTransform(transform, p=0.5)])(clip, KEY)
    changed = (out != clip).flatten(1).any(1)
    assert len(seen) == 1 and len(seen[0]) == changed.sum() and 8 < changed.sum() < 32
    assert torch.allclose(seen[0], clip[changed] * 2 - 1)
    assert torch.allclose(out[changed], 1 - clip[changed], atol=1e-6)
    net = nn.Sequential(nn.Conv3d(3, 3, 1), nn.Dropout(0.5), nn.Tanh()).train()
    augment = build_augment([ContentTransform(net, p=1.0)])
    assert not list(augment.parameters()) and not augment.state_dict() and not net.training
    assert not augment(clip, KEY).requires_grad
    with pytest.raises(UsageError, match="came back as"):
        build_augment([ContentTransform(lambda x: x[..., :8], p=1.0)])(clip, KEY)
    with pytest.raises(UsageError, match="function"):
        ContentTransform("night.ckpt")
