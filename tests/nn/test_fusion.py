"""Generators whose late stages see early ones: their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidiff.clip import ClipSpec
from vidiff.nn.fusion import CrossLayerGenerator, FusionGenerator

SPEC = ClipSpec(3, 8, 32, width=4, latent_dim=4)


def test_fusion_formula():
    """tanh(head + the sum of every stage's painting, enlarged to the clip's size at once)."""
    torch.manual_seed(0)
    g = FusionGenerator(ClipSpec(3, 6, 32, width=4, latent_dim=4))
    for layer in g.to_clip:
        nn.init.normal_(layer.weight)
    z = torch.randn(2, 4)
    x, paintings = z[:, :, None, None, None], []
    for i, layer in enumerate(g.layers[:9]):
        x = layer(x)
        if i % 3 == 2:
            paintings.append(torch.einsum("oc,bcthw->bothw", g.to_clip[i // 3].weight[:, :, 0, 0, 0], x))
    head = g.layers[9](x)
    total = head + sum(F.interpolate(p, head.shape[2:]) for p in paintings)
    torch.testing.assert_close(g(z), torch.tanh(total)[:, :, :6])


def test_cross_layer_looks_at_the_early_stage():
    """The finest features of a clip depend on the early ones through the attention alone when these are exchanged."""
    g = CrossLayerGenerator(SPEC, heads=2)
    nn.init.ones_(g.look_back.gate)
    seen = []
    g.look_back.register_forward_hook(lambda m, args, out: seen.append([tuple(a.shape[1:]) for a in args]))
    g(torch.randn(2, 4))
    assert seen == [[(4, 4, 16, 16), (16, 2, 4, 4)]]
    with pytest.raises(ValueError, match="0 to 1"):
        CrossLayerGenerator(SPEC, early=2)
