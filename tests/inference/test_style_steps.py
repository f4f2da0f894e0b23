"""Before and after the transfer: sizes, colors that stay, and the pictures and films that a style is taken from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from films import moving_bar, ramp
from PIL import Image

from vidiff.errors import UsageError
from vidiff.inference.style_steps import Steps, brightness, working_size
from vidiff.video.style_source import read_style

FRAME = ramp(1, 50, 70)[0]


def test_a_frame_at_its_own_size_comes_back_as_it_was():
    steps = Steps(200)
    assert np.array_equal(steps.post_process(FRAME, steps.pre_process(FRAME)), FRAME)


def test_sizes():
    assert working_size(1080, 1920, 160) == (160, 284)
    assert working_size(1920, 1080, 160) == (284, 160)
    assert working_size(100, 120, 160) == (100, 120) and working_size(8, 16, 160) == (32, 64)
    work = Steps(32).pre_process(FRAME)
    assert work.shape == (1, 3, 32, 45) and Steps(32).post_process(FRAME, work).shape == FRAME.shape
    assert np.abs(Steps(32).post_process(FRAME, work).astype(int) - FRAME).mean() < 3


def test_kept_colors_are_the_sources():
    steps = Steps(200, keep_color=True)
    work = steps.pre_process(FRAME)
    assert torch.equal(work[:, 0], work[:, 1]) and torch.equal(work[:, 0], work[:, 2])
    out = steps.post_process(FRAME, work * 0.8).astype(int)
    source = FRAME.astype(int)
    for a, b in ((0, 1), (1, 2)):  # differences of colors, but for rounding
        assert np.abs((out[..., a] - out[..., b]) - (source[..., a] - source[..., b])).max() <= 1
    assert out.std() < source.std() and brightness(work).shape == (1, 1, 50, 70)


def test_denoising_and_sharpening_do_what_they_say():
    noisy = (FRAME + np.random.default_rng(0).normal(0, 10, FRAME.shape)).clip(0, 255).astype(np.uint8)
    plain, smooth = Steps(200).pre_process(noisy), Steps(200, denoise=True).pre_process(noisy)
    truth = Steps(200).pre_process(FRAME)
    assert float((smooth - truth).abs().mean()) < 0.6 * float((plain - truth).abs().mean())
    sharp = Steps(200, sharpen=True).post_process(FRAME, truth)
    assert np.abs(np.diff(sharp.astype(int), axis=1)).mean() > 1.03 * np.abs(np.diff(FRAME.astype(int), axis=1)).mean()


def test_a_style_is_a_picture_or_frames_of_a_film(tmp_path):
    Image.fromarray(FRAME).save(tmp_path / "a.png")
    (picture,) = read_style(tmp_path / "a.png", 25)
    assert picture.shape == (25, 35, 3)
    film = read_style(moving_bar(tmp_path / "a.mp4", 20), 32)
    assert len(film) == 8 and all(f.shape == (32, 48, 3) for f in film)
    assert len(read_style(moving_bar(tmp_path / "b.mp4", 3), 32)) == 3


def test_what_is_no_style_is_refused(tmp_path):
    Image.fromarray(FRAME[:1, :1]).save(tmp_path / "one.png")
    (tmp_path / "text.txt").write_text("no picture")
    wrong = {
        "one.png": "1x1 pixels; at least 16",
        "text.txt": "neither a picture nor a video",
        "no.png": "no such file",
    }
    for name, said in wrong.items():
        with pytest.raises(UsageError, match=f"{name}: {said}"):
            read_style(tmp_path / name, 32)
    with pytest.raises(UsageError, match="a folder"):
        read_style(tmp_path, 32)
