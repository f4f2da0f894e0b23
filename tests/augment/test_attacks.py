"""What marked clips go through: each change keeps its promise, and gradients pass."""

from __future__ import annotations

import pytest
import torch

from vidiff.augment.attacks import ATTACKS, attacked, cropped, scaled, through_h264
from vidiff.clip import thwc_to_clip
from vidiff.data.shapes.scene import render_scene


@pytest.fixture(scope="module")
def clips():
    return torch.stack([thwc_to_clip(render_scene(1, n, frames=3, resolution=48)) for n in range(2)]).float() / 255


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_changes_what_it_should_and_lets_gradients_pass(name, clips):
    x = clips.clone().requires_grad_()
    out = ATTACKS[name][1](x, draw())
    assert out.shape[:3] == clips.shape[:3] and min(out.shape[3:]) >= 8
    changed = out.shape != clips.shape or not torch.equal(out, clips)
    assert changed == (name != "nothing")
    out.square().sum().backward()
    assert x.grad.isfinite().all() and float(x.grad.abs().mean()) > 1e-3


def test_h264_loses_more_at_a_worse_quality_and_passes_gradients_as_they_are(clips):
    x = clips.clone().requires_grad_()
    errors = [float((through_h264(clips, crf) - clips).square().mean()) for crf in (10, 40)]
    assert 0 < 3 * errors[0] < errors[1] < 0.02
    through_h264(x, 23).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_crops_and_scales_are_of_the_size_asked_for(clips):
    assert scaled(clips, 0.5).shape[3:] == (24, 24)
    part = cropped(clips, 0.75, draw())
    assert part.shape[3:] == (36, 36)
    places = clips[0, 0, 0].unfold(0, 36, 1).unfold(1, 36, 1)  # every window
    assert bool((places == part[0, 0, 0]).all(-1).all(-1).any())


def test_an_attack_is_a_function_of_the_draw(clips):
    once, again = attacked(clips, draw(3)), attacked(clips, draw(3))
    assert torch.equal(once, again)
    assert len({attacked(clips, draw(seed)).shape for seed in range(12)}) > 1
