"""Both decoders of videos against the numbers written into the frames, and against each other; images; broken files."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from vidiff.errors import RunError, UsageError
from vidiff.video.filetype import sniff, strip_frames
from vidiff.video.open import choose_decoder, open_reader, read_square
from vidiff.video.reader import ReadError

DECODERS = ("pyav", "decord")
FORMATS = [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("b.mp4", "mpeg4")]


@pytest.fixture(scope="module")
def files(make, tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    return {(n, c): make.video(root / n, frames=41, codec=c) for n, c in FORMATS}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("which", FORMATS, ids=lambda w: f"{w[1]}-{w[0]}")
def test_frames_are_the_ones_asked_for(make, files, which, decoder):
    reader = open_reader(files[which], decoder=decoder)
    assert (reader.info.num_frames, reader.info.width, reader.info.height) == (41, 64, 48)
    assert reader.info.fps == pytest.approx(10, abs=0.01)
    for wanted in (range(41), [40, 0, 17, 17, 3], [23], range(5, 40, 7)):
        frames = reader.read(wanted)
        assert frames.dtype == np.uint8 and frames.shape == (len(wanted), 48, 64, 3)
        assert [make.number_of(f) for f in frames] == list(wanted)


@pytest.mark.parametrize("which", FORMATS, ids=lambda w: f"{w[1]}-{w[0]}")
def test_backends_agree(files, which):
    a, b = (open_reader(files[which], decoder=decoder) for decoder in DECODERS)
    assert a.info == b.info
    for size in ((None, None), (24, 32), (24, 20), (16, 16), (48, 48)):
        difference = np.abs(a.read([0, 9, 40], *size).astype(int) - b.read([0, 9, 40], *size))
        assert difference.mean() < 2 and difference.max() <= 12


def test_backends_agree_on_real_files(make):
    if not make.shared.is_dir():
        pytest.skip("no real data beside the checkout (../shared/data)")
    for path in sorted(p for d in ("clips", "dyntex") for p in (make.shared / d).iterdir() if p.suffix != ".md"):
        reader = open_reader(path, decoder=choose_decoder(path, "video", "auto"))
        wanted = [reader.info.num_frames - 1, 0, reader.info.num_frames // 2]
        difference = np.abs(reader.read(wanted, 48, 64).astype(int) - open_reader(path).read(wanted, 48, 64))
        assert difference.mean() < 1, path


@pytest.mark.parametrize("decoder", DECODERS)
def test_broken_files_raise_read_error_naming_them(make, tmp_path, decoder):
    for name, path in make.broken(tmp_path).items():
        with pytest.raises(ReadError, match=rf"{name}\.mp4: ") as caught:
            open_reader(path, decoder=decoder).measure()
        assert isinstance(caught.value, RunError) and len(str(caught.value).splitlines()) == 1
        with pytest.raises(ReadError):
            open_reader(path, decoder=decoder).read([0])
    with pytest.raises(ReadError, match="no video stream"):
        open_reader(tmp_path / "audio.mp4", decoder=decoder).measure()


def test_damage_in_the_middle_shows_only_when_read(make, tmp_path):
    path = make.damage(make.noise(tmp_path / "hole.mp4"))
    reader = open_reader(path)
    assert reader.info.num_frames == 40
    assert reader.read([0]).shape == (1, 64, 64, 3)
    with pytest.raises(ReadError, match="hole.mp4"):
        reader.read(range(10, 30))


def test_cut_avi_has_the_length_that_decodes(make, tmp_path):
    whole = make.video(tmp_path / "whole.avi", frames=60, codec="mpeg4", size=(160, 128)).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 2])
    reader = open_reader(path)
    assert 5 < reader.info.num_frames < 55
    assert make.number_of(reader.read([reader.info.num_frames - 1])[0]) == reader.info.num_frames - 1
    with pytest.raises(ReadError, match="cut.avi"):
        reader.read([59])


@pytest.mark.parametrize("decoder", DECODERS)
def test_nothing_stays_open(files, decoder):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc")
    readers = [open_reader(path, decoder=decoder) for path in files.values()]
    for reader in readers:
        reader.read([0, reader.info.num_frames - 1])
    held = {os.path.realpath(f"/proc/self/fd/{handle}") for handle in os.listdir("/proc/self/fd")}
    assert not held & {os.path.realpath(path) for path in files.values()}


def test_strips_both_ways_and_frames(make, tmp_path):
    right = open_reader(make.strip(tmp_path / "right.jpg"), "strip")  # a PNG by content
    down = open_reader(make.strip(tmp_path / "down.png", down=True), "strip")
    folder = open_reader(make.frames(tmp_path / "film", frames=12), "frames")
    for reader, count in ((right, 20), (down, 20), (folder, 12)):
        assert (reader.info.num_frames, reader.info.width, reader.info.height, reader.info.fps) == (count, 32, 32, None)
        assert [make.number_of(f) for f in reader.read([11, 0, 2])] == [11, 0, 2]  # frame2 before frame10
        assert reader.read([1], 16, 24).shape == (1, 16, 24, 3)
    with pytest.raises(ReadError, match="only 12"):
        folder.read([12])
    half = (tmp_path / "right.jpg").read_bytes()
    (tmp_path / "half.png").write_bytes(half[: len(half) // 2])
    with pytest.raises(ReadError, match="half.png"):
        open_reader(tmp_path / "half.png", "strip").read([0])


def test_alpha_and_grey_become_rgb(tmp_path):
    for mode, value in (("RGBA", (10, 20, 30, 0)), ("L", 40), ("P", 3)):
        Image.new(mode, (32 * 4, 32), value).save(tmp_path / "a.png")
        frames = open_reader(tmp_path / "a.png", "strip").read([0, 3])
        assert frames.shape == (2, 32, 32, 3)
        if mode == "RGBA":
            assert (frames == [10, 20, 30]).all()


def test_resizing_is_antialiased():
    # A checkerboard of single pixels has mean 127.5; without antialiasing it would alias to black or white.
    from vidiff.video.pictures import resized

    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = resized(Image.fromarray(np.repeat(board[..., None], 3, 2)), 16, 16)
    assert np.abs(small.astype(int) - 127).max() <= 8


@pytest.mark.parametrize("decoder", DECODERS)
def test_square_crop_and_stretch(make, tmp_path, decoder):
    reader = open_reader(make.video(tmp_path / "wide.mp4", frames=3, size=(96, 32)), decoder=decoder)
    crop = read_square(reader, [0, 2], 16)
    assert crop.shape == (2, 16, 16, 3)
    assert np.abs(crop.astype(int) - reader.read([0, 2], 16, 48)[:, :, 16:32]).max() == 0
    assert np.array_equal(crop, read_square(reader, [0, 2], 16, size=(96, 32)))
    assert np.array_equal(read_square(reader, [1], 16, "stretch"), reader.read([1], 16, 16))
    with pytest.raises(UsageError, match="crop, stretch"):
        read_square(reader, [0], 16, "pad")


def test_content_not_suffix(make, tmp_path):
    make.video(tmp_path / "a.mkv").rename(tmp_path / "video.txt")
    make.strip(tmp_path / "strip.mp4")
    (tmp_path / "notes.mp4").write_text("words, mañana\n")
    (tmp_path / "nothing.png").touch()
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    kinds = {"video.txt": "video", "strip.mp4": "image", "notes.mp4": "text", "nothing.png": "empty"}
    assert {name: sniff(tmp_path / name) for name in kinds} == kinds
    assert sniff(tmp_path / "data.bin") == "other"


def test_what_counts_as_a_strip():
    assert [strip_frames(*s) for s in ((640, 64), (64, 640), (256, 64), (64, 64), (128, 64), (130, 32), (1, 1))] == [
        10, 10, 4, None, None, None, None
    ]  # fmt: skip


def test_unknown_backend():
    with pytest.raises(UsageError, match="pyav, auto, decord, got 'cv2'"):
        choose_decoder("a.mp4", "video", "cv2")
    with pytest.raises(UsageError, match="pyav or decord, got 'auto'"):
        open_reader("a.mp4", decoder="auto")
