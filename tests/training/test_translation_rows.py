"""What writing a clip to a file and reading it costs."""

from __future__ import annotations

import torch

from vidiff.metrics.paired import psnr
from vidiff.training.translation_rows import reencode


def test_reencoding_is_close_and_keeps_the_shape():
    g = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 5, 5, 5, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=(5, 18, 15), mode="trilinear")
    clips = (smooth * 255).to(torch.uint8)
    back = reencode(clips)
    assert back.shape == clips.shape and float(psnr(back, clips).min()) > 22
