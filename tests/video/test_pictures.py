"""Pictures of every depth and orientation, animations and stacks: the pixels that were put in come out."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vidiff.data.index import build_index
from vidiff.data.splits import Split
from vidiff.video.open import open_reader
from vidiff.video.pictures import header, open_rgb, white_level, white_levels
from vidiff.video.reader import ReadError

# Orientation -> what was done to the upright picture before it was stored (EXIF 2.3, tag 274).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def corners(height: int = 16, width: int = 24) -> np.ndarray:
    """Four quarters of different brightness: no turn or mirror looks like another."""
    picture = np.zeros((height, width, 3), np.uint8)
    for n, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        picture[y * height // 2 :, x * width // 2 :] = 40 + 60 * n
    return picture


def grey(number: int, top: float, dtype) -> np.ndarray:
    """A 16 x 16 picture, its left half black, its right half at number/4 of the top."""
    picture = np.zeros((16, 16), np.float64)
    picture[:, 8:] = top * number / 4
    return picture.astype(dtype)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_all_orientations_come_upright(tmp_path, suffix):
    for orientation, store in STORED.items():
        image, path = Image.fromarray(np.ascontiguousarray(store(corners()))), tmp_path / f"{orientation}.{suffix}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        assert header(path).size == (24, 16), orientation
        assert np.abs(np.asarray(open_rgb(path)).astype(int) - corners()).mean() < 4, orientation


def test_orientation_in_frames_strips_and_stills(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    strip = np.concatenate([corners(16, 16)] * 4, 1)
    for name, picture in (("film/0", corners()), ("film/1", corners()), ("strip/0", strip)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(STORED[6](picture))).save(tmp_path / f"{name}.png", exif=exif)
    film, strip = build_index(tmp_path).entries
    assert (film.kind, film.width, film.height) == ("frames", 24, 16)
    assert (strip.kind, strip.num_frames) == ("strip", 4)
    assert np.array_equal(open_reader(tmp_path / strip.path, "strip").read([3])[0], corners(16, 16))
    stills = build_index(tmp_path / "film", stills=True).entries
    assert {(e.kind, e.width, e.height) for e in stills} == {("image", 24, 16)}
    assert np.array_equal(open_reader(tmp_path / "film" / "0.png", "image").read([0])[0], corners())


DEPTHS = {
    "16 bits": (65535, np.uint16, "png"),
    "12 in 16": (4095, np.uint16, "png"),
    "12 in 16, TIFF": (4095, np.dtype(">u2"), "tif"),
    "float": (1.0, np.float32, "tif"),
    "float 255": (255.0, np.float32, "tif"),
    "32 bits": (65535, np.int32, "tif"),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", ["frames", "strip", "stills"])
def test_deep_pictures_are_scaled_by_their_range(tmp_path, depth, kind):
    top, dtype, suffix = DEPTHS[depth]
    pictures = [grey(n, top, dtype) for n in range(5)]
    if kind == "strip":
        pictures = [np.concatenate(pictures, 1).astype(dtype)]
    for n, picture in enumerate(pictures):
        if dtype == np.dtype(">u2"):
            Image.frombytes("I;16B", picture.shape[::-1], picture.tobytes()).save(tmp_path / f"{n}.{suffix}")
        else:
            Image.fromarray(picture).save(tmp_path / f"{n}.{suffix}")
    index = build_index(tmp_path, stills=kind == "stills")
    assert not index.bad and {e.white for e in index.entries} == {top}
    frames = []
    for e in index.entries:
        reader = open_reader(tmp_path / e.path, e.kind, files=e.files, white=e.white)
        frames += list(reader.read(range(e.num_frames)))
    assert len(frames) == 5
    for n, frame in enumerate(frames):
        assert (frame[:, :8] == 0).all() and np.abs(frame[:, 8:].astype(int) - 255 * n / 4).max() <= 1


def write_png16(path, colours):
    """Colours of 16 bits, (H, W, 3), which Pillow cannot write: header, rows without filter, end."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def test_deep_colour_is_not_cut_to_its_high_bytes(tmp_path):
    colours = np.zeros((8, 8, 3), ">u2")
    colours[:] = (4095, 2048, 0)
    path = write_png16(tmp_path / "a.png", colours)
    assert header(path).deep
    assert np.abs(np.asarray(open_rgb(path)).astype(int) - (255, 127.5, 0)).max() <= 1


def test_negative_and_missing_values_are_refused(tmp_path):
    for n, value in enumerate((-1.0, np.nan, np.inf)):
        picture = np.ones((8, 8), np.float32)
        picture[0, 0] = value
        Image.fromarray(picture).save(tmp_path / f"{n}.tif")
        with pytest.raises(ReadError, match="save it with 8 or 16 bits"):
            open_rgb(tmp_path / f"{n}.tif")
    index = build_index(tmp_path)
    assert not index.entries and "save it with 8 or 16 bits" in index.bad[0][1]


def test_white_levels():
    peaks = {0: 1, 0.9: 1, 1: 1, 200: 255, 255: 255, 1000: 1023, 3600: 4095, 57825: 65535, 100_000: 100_000, 3: 3}
    assert {peak: white_level(peak) for peak in peaks} == peaks
    assert white_levels([3600, 700, 57825, 20000, 0.8]) == [4095, 4095, 65535, 65535, 1]  # dark ones stay dark


def moving(count: int = 6) -> list[Image.Image]:
    return [Image.fromarray(np.full((16, 24, 3), 30 * n, np.uint8)) for n in range(count)]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("webp", {"lossless": True, "duration": 125}),
        ("png", {"duration": 125}),
        ("png", {"duration": 125, "default_image": True}),
        ("tif", {}),
        ("avif", {"quality": 100, "duration": 125}),
    ],
)
def test_pictures_that_move_are_videos(tmp_path, suffix, options):
    first, *rest = moving()
    for name in ("a", "b"):
        first.save(tmp_path / f"{name}.{suffix}", save_all=True, append_images=rest, **options)
    shown = [30 * n for n in range(6)][bool(options.get("default_image")) :]
    index = build_index(tmp_path)
    assert [(e.path, e.kind, e.num_frames) for e in index.entries] == [
        (f"{name}.{suffix}", "animation", len(shown)) for name in "ab"
    ]
    assert all(e.fps == (None if suffix == "tif" else 8.0) and (e.width, e.height) == (24, 16) for e in index.entries)
    frames = open_reader(tmp_path / f"a.{suffix}", "animation").read([4, 0, 2, 2])
    assert np.abs(frames.astype(int).mean((1, 2, 3)) - [shown[i] for i in (4, 0, 2, 2)]).max() <= 2
    stills = build_index(tmp_path, stills=True)
    assert [(e.kind, e.num_frames) for e in stills.entries] == [("image", 1)] * 2


def test_a_stack_of_16_bits_keeps_one_range(tmp_path):
    pages = [Image.fromarray(grey(n, 4095, np.uint16)) for n in range(1, 5)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (entry,) = build_index(tmp_path).entries
    assert (entry.kind, entry.num_frames, entry.white) == ("animation", 4, 4095)
    frames = open_reader(tmp_path / "a.tif", "animation", white=entry.white).read(range(4))
    assert np.abs(frames[:, :, 8:].astype(int).mean((1, 2, 3)) - [64, 127.5, 191, 255]).max() <= 1


def test_smaller_pages_and_second_views_are_no_film(tmp_path):
    big, small = Image.new("RGB", (24, 16)), Image.new("RGB", (12, 8))
    big.save(tmp_path / "pyramid.tif", save_all=True, append_images=[small])
    big.save(tmp_path / "stereo.jpg", format="MPO", save_all=True, append_images=[big])
    assert [header(tmp_path / name).frames for name in ("pyramid.tif", "stereo.jpg")] == [1, 1]


def test_deep_frames_reach_the_clips(tmp_path):
    from vidiff.data.datamodule import ClipDataModule

    for n in (1, 2, 4):
        (tmp_path / f"v{n}").mkdir()
        for frame in range(2):
            Image.fromarray(grey(n, 4095, np.uint16)).save(tmp_path / f"v{n}" / f"{frame}.png")
    options = dict(num_frames=2, resolution=16, num_workers=0, batch_size=3, augment="none", split=Split(0.0, 0.0))
    clips = next(iter(ClipDataModule(tmp_path, **options).train_dataloader()))["clip"]
    tops = np.sort(clips.amax((1, 2, 3, 4)).numpy()).astype(int)
    assert clips[..., :8].max() == 0 and np.abs(tops - (64, 127.5, 255)).max() <= 1


def test_pictures_that_cannot_be_read_say_what_they_are(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "b.exr").write_bytes(b"v/1\x01" + bytes(40))
    reasons = dict(build_index(tmp_path).bad)
    assert reasons["a.heic"].startswith("HEIC") and reasons["b.exr"].startswith("OpenEXR")
