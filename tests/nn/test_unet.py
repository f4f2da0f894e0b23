"""A logit for the clip and one for each pixel: their weights, and where a change is seen."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vidiff.clip import ClipSpec
from vidiff.nn.unet import UNetDiscriminator


def clips(spec: ClipSpec, n: int = 2) -> torch.Tensor:
    return torch.randn(n, spec.channels, spec.num_frames, spec.resolution, spec.resolution).clamp(-1, 1)


@pytest.mark.parametrize("frames", [1, 5, 6])
def test_unet_weighs_the_clip_and_the_pixels_by_half(frames):
    spec = ClipSpec(3, frames, 16, width=4)
    d, x = UNetDiscriminator(spec, norm="layer", init="kaiming"), clips(spec)
    whole, pixels = d.clip_and_pixel_logits(x)
    assert whole.shape == (2,) and pixels.shape == (2, frames, 16, 16)
    torch.testing.assert_close(whole, d.encoder(x))
    loss = F.softplus(d(x)).mean()
    torch.testing.assert_close(loss, 0.5 * F.softplus(whole).mean() + 0.5 * F.softplus(pixels).mean())


def test_unet_pixels_judge_where_something_is():
    """A change in one corner moves that corner's logits more than those of the far one, by the skipping features."""
    torch.manual_seed(0)
    spec = ClipSpec(3, 4, 32, width=4)
    d, x = UNetDiscriminator(spec, norm="none", init="kaiming"), clips(spec, 1)
    changed = x.clone()
    changed[..., :4, :4] = -changed[..., :4, :4]
    moved = (d.clip_and_pixel_logits(changed)[1] - d.clip_and_pixel_logits(x)[1]).abs()
    assert moved[..., :4, :4].mean() > 5 * moved[..., -4:, -4:].mean()
