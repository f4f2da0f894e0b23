"""`vidiff.restore`: larger where the model learned it, windows and tiles as the whole, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from films import check_kept, frames_of, moving_bar
from helpers import TINY

import vidiff
from vidiff.augment.degrade import GaussianNoise, LowResolution
from vidiff.clip import thwc_to_clip
from vidiff.errors import RunError, UsageError
from vidiff.inference.restore import enlarged, frame_restorer
from vidiff.models.dcgan import DCGAN
from vidiff.models.restoration import Restoration
from vidiff.nn.restorer import ResidualRestorer


def model(*ops, moved: bool = False) -> Restoration:
    made = Restoration(generator=lambda spec: ResidualRestorer(spec, blocks=1), degradations=list(ops), **TINY).eval()
    if moved:
        with torch.no_grad():
            for layer in (made.generator.layers[-2], made.generator_ema.module.layers[-2]):
                layer.space.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return made


def film(count: int = 11, height: int = 38, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_windows_and_tiles_give_what_the_whole_would():
    restorer, frames = model(GaussianNoise(), moved=True), film()
    said: list[str] = []
    parts = np.stack(list(frame_restorer(restorer, window=7, tile=40, say=said.append)(frames)))
    whole = restorer.translate(
        F.pad(thwc_to_clip(frames).float(), (0, 2, 0, 2, 0, 0), "replicate").byte()[None], 0, 1
    )  # sides of 4
    whole = whole[0, :, :, :38, :70].permute(1, 2, 3, 0).numpy()
    assert parts.shape == frames.shape and not said
    assert np.abs(parts.astype(int) - whole).max() <= 1 and np.abs(whole.astype(int) - frames).mean() > 2


def test_an_untrained_model_of_low_resolution_is_bicubic_interpolation():
    frames = film(5, 12, 18)
    out = np.stack(list(frame_restorer(model(LowResolution(2)))(frames)))
    assert out.shape == (5, 24, 36, 3) and np.array_equal(out, np.stack(list(enlarged(frames, 2))))
    reference = F.interpolate(torch.from_numpy(frames).permute(0, 3, 1, 2).double(), scale_factor=2, mode="bicubic")
    reference = reference.clamp(0, 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(out - reference).max() <= 1 and (out != reference).mean() < 0.01
    same = np.stack(list(frame_restorer(model(LowResolution(2)), scale=1)(frames)))
    assert np.array_equal(same, frames)
    both = next(frame_restorer(model(GaussianNoise()), scale=3, compare=True)(frames))
    assert both.shape == (36, 108, 3) and np.array_equal(both[:, :54], both[:, 54:])


def test_a_file_keeps_its_times_and_its_sound(tmp_path):
    source = moving_bar(tmp_path / "in.mp4", frames=23, size=(50, 34), sound=True)
    before = source.read_bytes()
    (result,) = vidiff.restore(model(GaussianNoise()), source, tmp_path / "out.mp4")
    assert result.frames == 23 and result.path == tmp_path / "out.mp4"
    check_kept(source, tmp_path / "out.mp4")
    vidiff.restore(model(LowResolution(2)), source, tmp_path / "large.mp4")
    assert frames_of(tmp_path / "large.mp4").shape == (23, 68, 100, 3)
    assert source.read_bytes() == before


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path):
    source = moving_bar(tmp_path / "in.mp4", frames=3)
    own = model(GaussianNoise())
    with pytest.raises(UsageError, match="DCGAN does not restore videos"):
        vidiff.restore(DCGAN(**TINY), source, tmp_path / "out.mp4")
    for scale in (0, 5):
        with pytest.raises(UsageError, match=f"scale must be from 1 to 4, got {scale}"):
            vidiff.restore(own, source, tmp_path / "out.mp4", scale=scale)
    with pytest.raises(UsageError, match="tile must be at least 16"):
        vidiff.restore(own, source, tmp_path / "out.mp4", tile=8)
    with pytest.raises(UsageError, match="would replace the input"):
        vidiff.restore(own, source, source)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(RunError, match="text.mp4: not a readable video"):
        vidiff.restore(own, tmp_path / "text.mp4", tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "text.mp4"]


def test_an_error_says_that_it_was_restoring(tmp_path, monkeypatch):
    source = moving_bar(tmp_path / "in.mp4", frames=3)

    def fails(frames):
        raise OverflowError("too much")
        yield

    monkeypatch.setattr("vidiff.inference.restore.frame_restorer", lambda *args, **how: fails)
    with pytest.raises(OverflowError) as raised:
        vidiff.restore(model(GaussianNoise()), source, tmp_path / "out.mp4")
    assert raised.value.__notes__ == [f"while restoring {source}"]
