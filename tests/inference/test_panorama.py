"""Videos all around: what is rolled comes out rolled, through tiles too; two eyes; files that say it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from films import frames_of

from vidiff.data.shapes.scene import render_panorama
from vidiff.errors import RunError, UsageError
from vidiff.inference.panorama import around, looking_around
from vidiff.inference.restore import frame_restorer
from vidiff.inference.tiles import through_tiles
from vidiff.inference.translate import frame_translator, translate_video
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.restoration import Restoration
from vidiff.nn.resnet import ResnetGenerator
from vidiff.sphere import seam_ratio
from vidiff.video.spherical import Spherical, read_spherical
from vidiff.video.write import write_mp4

SIZES = dict(num_frames=1, resolution=16, width=4)


def cyclegan(norm: str = "none", **more) -> CycleGAN:
    model = CycleGAN(generator=lambda spec: ResnetGenerator(spec, 1, norm=norm), pool_size=1, **SIZES, **more)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator_ema.module.parameters():
            torch.nn.init.normal_(p, 0.0, 0.12)
    return model.eval()


@pytest.fixture(scope="module")
def panorama() -> np.ndarray:
    return render_panorama(0, 3, 2, 64)


@pytest.mark.parametrize("tile", [None, 64])
@pytest.mark.parametrize("trained", ["flat", "equirectangular"])
def test_a_rolled_video_is_translated_into_a_rolled_one(trained, tile, panorama):
    """Also by a copy of a network that was trained on flat clips; its own flat self does not."""
    model = cyclegan(projection=trained)
    change = frame_translator(model, projection="equirectangular", tile=tile)
    out, rolled = (np.stack(list(change(v))).astype(int) for v in (panorama, np.roll(panorama, 20, 2)))
    assert out.std() > 10 and np.abs(np.roll(out, 20, 2) - rolled).max() <= 1
    if trained == "flat":
        flat = np.stack(list(frame_translator(model, tile=tile)(panorama))).astype(int)
        assert np.abs(flat - out)[:, :, 24:-24].max() <= 1 and np.abs(flat - out)[:, :, :4].max() > 1
        assert model.network(0, 1).layers[0].wraps is False  # the model itself is as it was


def test_tiles_around_give_what_the_whole_gives_to_1e_4():
    model = looking_around(cyclegan(), "equirectangular")
    network = lambda clip: model.network(0, 1)(clip[None])[0]  # noqa: E731
    with torch.no_grad():
        clip = torch.rand(3, 1, 32, 192) * 2 - 1
        whole, tiled = network(clip), through_tiles(clip, network, 96, 28, 4, wraps=True)
        shifted = through_tiles(clip.roll(36, -1), network, 96, 28, 4, wraps=True)
    assert (whole - tiled).abs().max() < 1e-4 and (whole.roll(36, -1) - shifted).abs().max() < 1e-4


def test_restoration_and_a_scale_go_around(panorama):
    model = Restoration(num_frames=1, resolution=16, width=8).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.nn.init.normal_(model.generator_ema.module.layers[-2].space.weight, 0.0, 0.2)
    change = frame_restorer(model, scale=2, projection="equirectangular")
    small = panorama[:1, ::2, ::2]
    out, rolled = (np.stack(list(change(v))).astype(int) for v in (small, np.roll(small, 20, 2)))
    assert out.shape == (1, 64, 128, 3) and np.abs(np.roll(out, 40, 2) - rolled).max() <= 1


def test_a_lower_resolution_goes_around(panorama):
    change = frame_translator(cyclegan(), projection="equirectangular", resolution=32)
    out, rolled = (np.stack(list(change(v))).astype(int) for v in (panorama, np.roll(panorama, 40, 2)))
    assert np.abs(np.roll(out, 40, 2) - rolled).max() <= 1


def test_two_eyes_are_translated_one_by_one(panorama):
    model = cyclegan()
    one = np.stack(list(frame_translator(model)(panorama)))
    for order, axis in (("left-right", 2), ("top-bottom", 1)):
        both = np.concatenate([panorama, panorama], axis)
        out = np.stack(list(frame_translator(model, stereo=order)(both)))
        assert np.array_equal(out, np.concatenate([one, one], axis))
    with pytest.raises(RunError, match="cannot be halved"):
        list(frame_translator(model, stereo="left-right")(panorama[:, :, :-1]))


def test_the_file_says_what_it_is(panorama, tmp_path):
    write_mp4(tmp_path / "in.mp4", panorama)
    translate_video(cyclegan(), tmp_path / "in.mp4", tmp_path / "out.mp4", projection="equirectangular")
    assert read_spherical(tmp_path / "out.mp4") == Spherical("equirectangular")
    assert frames_of(tmp_path / "out.mp4").shape == panorama.shape
    translate_video(cyclegan(), tmp_path / "out.mp4", tmp_path / "again.mp4")
    assert read_spherical(tmp_path / "again.mp4") == Spherical("equirectangular")
    with pytest.raises(UsageError, match="projection must be flat or equirectangular, got 'cube'"):
        translate_video(cyclegan(), tmp_path / "in.mp4", tmp_path / "c.mp4", projection="cube")
    with pytest.raises(RunError, match="multiple of 4"):
        list(frame_translator(cyclegan(), projection="equirectangular")(panorama[:, :, :-2]))


def test_a_program_that_knows_no_panoramas_meets_at_the_seam(panorama):
    """One that adds a ramp from left to right, as the borders of a network do: the seam is gone."""

    def ramp(frames):
        for frame in frames:
            yield (frame * 0.5 + np.linspace(0, 120, frame.shape[1])[None, :, None]).astype(np.uint8)

    def seam(frames) -> float:
        return float(seam_ratio(torch.from_numpy(np.stack(list(frames))).permute(3, 0, 1, 2)[None])[0])

    assert seam(ramp(panorama)) > 10 and seam(around(ramp)(panorama)) < 2.5
    same = np.stack(list(around(lambda frames: frames)(panorama))).astype(int)
    assert np.abs(same - panorama).max() <= 1


def test_a_model_of_two_eyes_translates_them_and_single_ones(panorama):
    """One that was trained on both sees each; `mono` says that there is one."""
    model, flat = cyclegan(projection="stereo"), cyclegan()
    both = np.stack(list(frame_translator(model)(panorama)))
    assert np.array_equal(both, np.stack(list(frame_translator(flat, stereo="left-right")(panorama))))
    one = np.stack(list(frame_translator(model, stereo="mono")(panorama)))
    assert np.array_equal(one, np.stack(list(frame_translator(flat)(panorama))))
