"""Disparity is found where it is known, and a translation keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidiff.clip import thwc_to_clip
from vidiff.data.shapes.stereo import render_stereo, stereo_truth
from vidiff.inference.checkpoint import load_model
from vidiff.inference.translate import frame_translator
from vidiff.metrics.stereo import disparity, disparity_error, eye_error

SCENES, FRAMES, SIDE = range(100, 106), 4, 64


@pytest.fixture(scope="module")
def dis():
    pytest.importorskip("cv2")
    from vidiff.flow import flow_method

    return flow_method("dis")


def rendered(style: str) -> torch.Tensor:
    return torch.stack([thwc_to_clip(render_stereo(0, scene, style, FRAMES, SIDE)) for scene in SCENES])


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    return torch.from_numpy(np.stack([stereo_truth(0, scene, FRAMES, SIDE) for scene in SCENES]))


def test_a_shifted_picture_has_the_disparity_of_its_shift(dis):
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 1, 12, 24, generator=rng)[:, :, 0]
    picture = (torch.nn.functional.interpolate(coarse, (48, 96), mode="bicubic").clamp(0, 1) * 255).byte()[:, :, None]
    left, right = picture[..., 10:70], picture[..., 13:73]  # what is at x on the left is at x - 3 on the right
    both = torch.cat([left, right], -1)
    found = disparity(both, dis)[..., 8:-8, 8:-8]
    assert found.shape[:2] == (1, 1) and float(found.median()) == pytest.approx(3.0, abs=0.3)
    assert float(eye_error(both, both, dis)) < 0.01 < float(eye_error(torch.cat([right, left], -1), both, dis))


def test_a_translation_of_each_eye_keeps_the_disparity(dis, truth):
    """At most 1.2 times the error that is found with the true counterpart; wrong eyes are far above it."""
    plain, night = rendered("plain"), rendered("night")
    change = frame_translator(load_model("zoo:cyclegan-day2night", "cpu"), direction="a2b", stereo="left-right")
    made = [np.stack(list(change(clip.permute(1, 2, 3, 0).numpy()))) for clip in plain]
    fake = torch.stack([thwc_to_clip(clip) for clip in made])
    error, best = (float(disparity_error(clips, truth, dis).mean()) for clips in (fake, night))
    swapped = torch.cat(fake.chunk(2, -1)[::-1], -1)
    assert error <= 1.2 * best and float(disparity_error(swapped, truth, dis).mean()) > 2 * best
    assert float(eye_error(fake, plain, dis).mean()) < 0.5 * float(eye_error(swapped, plain, dis).mean())
