"""Writing: what is written can be read back, by size, count, rate and pixels; colours, times, nothing half-done."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from films import psnr, ramp, read
from PIL import Image

from vidiff.errors import RunError, UsageError
from vidiff.video import write as media
from vidiff.video.write import BT601, BT709, LIMITED, Encoder, VideoFormat, frame_rate, new_container


@pytest.mark.parametrize("fps", [8, 25, 30000 / 1001])
def test_mp4_round_trip(tmp_path, fps):
    frames = ramp(9, 48, 64)
    media.write_mp4(tmp_path / "sub" / "a.mp4", frames, fps=fps)
    back, facts = read(tmp_path / "sub" / "a.mp4")
    assert back.shape == frames.shape
    assert facts["rate"] == pytest.approx(fps, rel=1e-6)
    assert (facts["codec"], facts["pix"]) == ("h264", "yuv420p")
    assert psnr(back, frames) > 34
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("side", [16, 32, 48, 64])
def test_mp4_index_comes_first_and_bytes_repeat(tmp_path, side):
    frames = ramp(5, side, side)
    written = set()
    for n in range(12):
        media.write_mp4(tmp_path / "a.mp4", torch.from_numpy(frames).permute(3, 0, 1, 2) if n % 2 else frames)
        written.add((tmp_path / "a.mp4").read_bytes())
    (first,) = written
    assert first.index(b"moov") < first.index(b"mdat")


def test_mp4_pads_odd_sizes_and_repeats_grey(tmp_path):
    frames = ramp(4, 31, 33, c=1)
    media.write_mp4(tmp_path / "a.mp4", torch.from_numpy(frames).permute(3, 0, 1, 2))
    back, _ = read(tmp_path / "a.mp4")
    assert back.shape == (4, 32, 34, 3)
    assert psnr(back[:, :31, :33], np.repeat(frames, 3, -1)) > 34
    assert psnr(back[:, 31, :33], np.repeat(frames, 3, -1)[:, 30]) > 30


def test_gif_keeps_frames_and_total_time(tmp_path):
    frames = ramp(16, 40, 40)
    media.write_gif(tmp_path / "a.gif", frames, fps=8)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 16 and gif.info["loop"] == 0
        total, back = 0, []
        for i in range(16):
            gif.seek(i)
            total += gif.info["duration"]
            back.append(np.asarray(gif.convert("RGB")))
    assert total == pytest.approx(2000, abs=20)
    assert psnr(np.stack(back), frames) > 25


def test_gifs_are_enlarged_without_new_pixels(tmp_path):
    """Every pixel is repeated, and without dithering every color is the nearest one of the palette."""
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[0, 1, 2], frames[1, 3, 5] = (255, 0, 0), (0, 0, 255)
    media.write_gif(tmp_path / "a.gif", frames, scale=3, dither=False)
    with Image.open(tmp_path / "a.gif") as picture:
        for i, frame in enumerate(frames):
            picture.seek(i)
            assert np.array_equal(np.asarray(picture.convert("RGB")), frame.repeat(3, axis=0).repeat(3, axis=1))


def test_png_and_npy_are_exact(tmp_path):
    frames = ramp(3, 20, 30)
    media.write_png(tmp_path / "a.png", frames[0])
    media.write_png(tmp_path / "b.png", torch.from_numpy(frames[0]).permute(2, 0, 1))
    media.write_npy(tmp_path / "c.npy", torch.from_numpy(frames))
    media.write_clip(tmp_path / "strip.png", frames)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frames[0])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.array_equal(np.load(tmp_path / "c.npy", allow_pickle=False), frames)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "strip.png"))[:, 30:60], frames[1])


def test_unknown_suffix_names_the_accepted_ones(tmp_path):
    frames = ramp(3, 16, 16)
    for write in (media.write_clip, media.write_mp4):
        with pytest.raises(UsageError, match=r"\.mp4"):
            write(tmp_path / "a.avi", frames)
    with pytest.raises(UsageError, match=r"\.gif"):
        media.write_gif(tmp_path / "a.mp4", frames)
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(Exception):  # noqa: B017  (whatever the encoder says to a preset that does not exist)
        media.write_mp4(path, ramp(3, 16, 16), crf="no-such-quality")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.mp4"]


def test_layout_and_dtype_are_checked(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        media.write_mp4(tmp_path / "a.mp4", ramp(3, 16, 16).astype(np.float32))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        media.write_mp4(tmp_path / "a.mp4", np.zeros((3, 4, 16, 16), np.uint8))


def test_every_value_of_a_cutout_survives(tmp_path):
    clip = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (5, 17, 12, 4), dtype=np.uint8)  # also alpha 0
    media.write_cutout(tmp_path / "a.mov", clip, fps=12.5)
    with av.open(str(tmp_path / "a.mov")) as container:
        assert float(container.streams.video[0].average_rate) == 12.5
        back = [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]
    assert np.array_equal(np.stack(back), clip)
    media.write_cutout(tmp_path / "b.mov", clip, fps=12.5)
    assert (tmp_path / "a.mov").read_bytes() == (tmp_path / "b.mov").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mov", "b.mov"]
    with pytest.raises(ValueError, match="T, H, W, 4"):
        media.write_cutout(tmp_path / "c.mov", clip[..., :3])


def test_importing_the_writers_does_not_import_torch():
    code = "import sys; from vidiff.video import remux, sheet, write; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_rates_are_those_of_broadcasting():
    assert [frame_rate(fps) for fps in (8, 30000 / 1001, 12.5)] == [8, Fraction(30000, 1001), Fraction(25, 2)]
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="positive"):
            frame_rate(fps)


@pytest.mark.parametrize(("height", "width", "pixels"), [(48, 64, "yuv420p"), (47, 64, "yuv444p"), (48, 63, "yuv444p")])
@pytest.mark.parametrize("matrix", [BT601, BT709])
def test_frames_keep_size_colours_and_times(tmp_path, height, width, pixels, matrix):
    frames, path = ramp(6, height, width), tmp_path / "a.mkv"
    form = VideoFormat(Fraction(10), Fraction(1, 1000), Fraction(1), matrix=matrix)
    with new_container(path) as container:
        encoder = Encoder(container, height, width, form)
        for i, frame in enumerate(frames):
            container.mux(encoder.encode(frame, 50 * i * i))
        container.mux(encoder.flush())
    back, facts = read(path)
    assert back.shape == frames.shape and psnr(back, frames) > 33 and facts["pix"] == pixels
    with av.open(str(path)) as container:
        shown = list(container.decode(video=0))
    assert [float(f.pts * f.time_base) for f in shown] == pytest.approx([0.05 * i * i for i in range(6)], abs=1e-6)
    assert {(int(f.colorspace), int(f.color_range)) for f in shown} == {(matrix, LIMITED)}


def test_what_fails_leaves_nothing(tmp_path):
    form = VideoFormat(Fraction(10), Fraction(1, 10))
    with pytest.raises(RunError, match=r"a\.mp4: could not be written by PyAV"), new_container(tmp_path / "a.mp4") as c:
        Encoder(c, 32, 32, form, preset="no-such-preset").encode(ramp(1, 32, 32)[0], 0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"), new_container(tmp_path / "file" / "a.mp4"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 80), (128, 128), (64, 192)], ids=str)
def test_the_same_pixels_give_the_same_bytes(tmp_path, size):
    """Whatever lay in memory before: the embedded videos are the same files everywhere."""
    draw = np.random.Generator(np.random.PCG64(0))
    moving = np.cumsum(draw.integers(-20, 21, (32, *size, 3)), 0) + 128
    clip, seen = np.clip(moving, 0, 255).astype(np.uint8), set()
    for i in range(6):
        litter = [np.random.default_rng(i).bytes(1_000_000 * (1 + i % 3)) for _ in range(3)]
        media.write_mp4(tmp_path / "a.mp4", clip, crf=14)
        seen.add((tmp_path / "a.mp4").read_bytes())
        del litter
    assert len(seen) == 1
