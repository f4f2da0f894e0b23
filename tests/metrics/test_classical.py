"""OpenCV's methods on clips: layouts and colors come through, and they do what they are there for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidiff.augment.degrade import GaussianNoise, MissingBlocks, degrade
from vidiff.metrics.paired import psnr

cv2 = pytest.importorskip("cv2")

from vidiff.metrics.classical import inpainted, non_local_means  # noqa: E402


def clips(channels: int = 3) -> torch.Tensor:
    """Two clips (2, C, 5, 24, 28) of slow waves, each channel another."""
    y, x, t = (torch.arange(n, dtype=torch.float32) for n in (24, 28, 5))
    phase = torch.arange(2 * channels).reshape(2, channels, 1, 1, 1) * 0.9
    return 0.5 + 0.3 * torch.sin(0.2 * (x + t[:, None, None]) + 0.15 * y[:, None] + phase)


def to_bytes(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().byte()


@pytest.mark.parametrize("channels", [3, 1])
def test_non_local_means_takes_noise_away(channels):
    x = clips(channels)
    noisy = to_bytes(degrade(x, [GaussianNoise((20, 20))], [0, 1], 0))
    single, video = non_local_means(noisy, 20), non_local_means(noisy, 20, frames=5)
    assert single.shape == video.shape == noisy.shape and single.dtype == torch.uint8
    before, after, more = (psnr(y, to_bytes(x)) for y in (noisy, single, video))
    assert bool((after > before + 1.5).all()) and bool((more > before + 1.5).all())
    if channels == 3:
        frame = np.ascontiguousarray(noisy[1, :, 2].permute(1, 2, 0).numpy())
        wanted = cv2.fastNlMeansDenoisingColored(frame, None, 20, 20, 7, 21)
        assert np.array_equal(single[1, :, 2].permute(1, 2, 0).numpy(), wanted)
        assert torch.equal(video[:, :, 0], single[:, :, 0])  # the first frame has nothing before it


def test_inpainting_changes_what_is_lost_and_nothing_else():
    x = clips()
    damaged, truth = to_bytes(degrade(x, [MissingBlocks()], [0, 1], 0)), to_bytes(x)
    lost = (damaged != truth).any(1)
    filled = inpainted(damaged, lost)
    kept = ~lost.unsqueeze(1).expand_as(filled)
    assert torch.equal(filled[kept], truth[kept])
    assert bool((psnr(filled, truth) > psnr(damaged, truth) + 5).all())
