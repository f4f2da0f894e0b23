"""What the pictures of a folder are: one film, several, strips, wide frames, photos; what only lies beside them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vidiff.data.index import build_index


def picture(path, number=0, size=(32, 32), mode="RGB"):
    """A picture that carries a number as eight bars across it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bars = [225 if number >> bit & 1 else 30 for bit in range(8)]
    row = np.repeat(np.array(bars, np.uint8), size[0] // 8)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : len(row)] = row[None, :, None]
    Image.fromarray(pixels).convert(mode).save(path)


def films(root):
    return [(e.path, e.files) for e in build_index(root).entries]


@pytest.mark.parametrize(
    "names",
    [
        [[f"{film}_{n:04d}" for n in range(6)] for film in "abc"],
        [[f"shot{film}_{n}" for n in range(1, 13)] for film in (1, 2)],
        [[f"{n:04d}_{side}" for n in range(5)] for side in ("left", "right")],
        [[f"{n:03d}_cam{camera}" for n in range(5)] for camera in (1, 2, 3)],
        [[f"s{a}_take{b}_{n:02d}" for n in range(4)] for a in (1, 2) for b in (1, 2)],
    ],
)
def test_several_films_in_one_folder(tmp_path, names):
    for film in names:
        for n, name in enumerate(film):
            picture(tmp_path / f"{name}.png", n)
    assert sorted(f for _, f in films(tmp_path)) == sorted(tuple(f"{name}.png" for name in film) for film in names)
    assert len({e.sha256 for e in build_index(tmp_path).entries}) == len(names)


@pytest.mark.parametrize(
    "names",
    [
        [f"frame{n}" for n in range(12)],
        [f"2024-05-01_12-{minute:02d}-{second:02d}" for minute in (58, 59) for second in (0, 20, 40)],
        [f"frame_{n:03d}_{n * 0.04:.2f}s" for n in range(8)],
        [f"t{n / 4:.2f}" for n in range(10)],
        [f"{n}_of_8" for n in range(1, 9)],
        ["one", "two", "three", "four"],
    ],
)
def test_one_film_whatever_its_numbers(tmp_path, names):
    for n, name in enumerate(names):
        picture(tmp_path / f"{name}.png", n)
    ((path, files),) = films(tmp_path)
    assert path == "." and len(files) == len(names)


@pytest.mark.parametrize("extra", ["cover.png", "folder.jpg", "0006.png"])
@pytest.mark.parametrize("beside", [0, 2])
def test_a_picture_of_another_size_costs_no_film(tmp_path, extra, beside):
    for video in range(1 + beside):
        for n in range(12):
            if f"{n:04d}.png" != extra or video:
                picture(tmp_path / f"v{video}" / f"{n:04d}.png", n)
    picture(tmp_path / "v0" / extra, size=(40, 24))
    index = build_index(tmp_path)
    assert [e.num_frames for e in index.entries] == [11 if extra == "0006.png" else 12] + [12] * beside
    assert not index.bad and [path for path, _ in index.passed] == [f"v0/{extra}"]
    assert "40x24" in index.passed[0][1] or "another kind" in index.passed[0][1]


def test_photos_of_many_sizes_stay_photos(tmp_path):
    for n in range(10):
        picture(tmp_path / f"{n}.png", n, size=(32, 32) if n % 2 else (40, 24))
    assert [e.kind for e in build_index(tmp_path).entries] == ["image"] * 10


@pytest.mark.parametrize("down", [False, True])
def test_wide_frames_are_a_film_and_strips_are_strips(tmp_path, down):
    rng = np.random.default_rng(0)
    scene = np.asarray(Image.fromarray(rng.integers(0, 256, (4, 20, 3)).astype(np.uint8)).resize((160, 32)))
    for video in range(2):
        for n in range(10):  # a camera that pans over a wide scene
            frame = np.roll(scene, 2 * n + 50 * video, 1)[:, :128]
            path = tmp_path / "wide" / f"v{video}" / f"{n:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(frame.swapaxes(0, 1) if down else frame)).resize(
                (32, 128) if down else (128, 32)
            ).save(path)
    for n in range(6):
        tile = rng.integers(0, 200, (32, 32, 3)).astype(np.uint8)
        strip = np.concatenate([tile + 5 * k for k in range(4)], 0 if down else 1)
        (tmp_path / "strips").mkdir(exist_ok=True)
        Image.fromarray(strip).save(tmp_path / "strips" / f"{n}.png")
    assert [(e.kind, e.num_frames) for e in build_index(tmp_path / "strips").entries] == [("strip", 4)] * 6
    for part in (tmp_path / "wide", tmp_path / "wide" / "v1"):
        wide = build_index(part).entries
        assert {(e.kind, e.num_frames, e.width) for e in wide} == {("frames", 10, 32 if down else 128)}
    (tmp_path / "m.csv").write_text("path\nstrips\n")  # a folder that is listed holds frames
    assert [(e.kind, e.num_frames) for e in build_index(tmp_path / "m.csv").entries] == [("frames", 6)]


def test_wide_frames_with_numbers(tmp_path):
    for video in range(2):
        for n in range(10):
            picture(tmp_path / f"v{video}" / f"{n:02d}.png", 60 * video + n, size=(128, 32))
    assert [(e.kind, e.num_frames) for e in build_index(tmp_path).entries] == [("frames", 10)] * 2


def test_one_panorama_among_photos_decides_nothing(tmp_path):
    picture(tmp_path / "pan.png", size=(128, 32))
    for n in range(5):
        picture(tmp_path / f"{n}.png", n, size=(32 + 8 * n, 32))
    assert {e.kind for e in build_index(tmp_path).entries} == {"image"}


@pytest.mark.parametrize(
    ("name", "mode"), [("{:03d}_mask", "L"), ("depth_{:03d}", "RGB"), ("{:03d}.flow", "RGB"), ("{:03d}_d", "L")]
)
def test_masks_and_depth_beside_frames(tmp_path, name, mode):
    for n in range(6):
        picture(tmp_path / f"{n:03d}.png", n)
        picture(tmp_path / f"{name.format(n)}.png", 255 - n, mode=mode)
    index = build_index(tmp_path)
    assert [e.files for e in index.entries] == [tuple(f"{n:03d}.png" for n in range(6))]
    assert len(index.passed) == 6 and all("beside" in reason for _, reason in index.passed)


def test_folders_of_masks_thumbnails_and_posters(tmp_path, make):
    for video in "xy":
        for n in range(4):
            picture(tmp_path / "frames" / video / f"{n}.png", n)
            picture(tmp_path / "masks" / video / f"{n}.png", n, mode="L")
            picture(tmp_path / "frames" / video / "thumbs" / f"{n}.png", n, size=(8, 8))
    assert [path for path, _ in films(tmp_path)] == ["frames/x", "frames/y"]
    reasons = {reason for _, reason in build_index(tmp_path).passed}
    assert len(build_index(tmp_path).passed) == 16 and len(reasons) == 2
    root = tmp_path / "videos"
    for n in range(3):
        make.video(root / "clips" / f"film{n}.mp4", frames=3)
        for folder in ("thumbnails", "stills of them", "@eaDir"):
            picture(root / folder / f"film{n}.png", n)
    index = build_index(root)
    assert [e.kind for e in index.entries] == ["video"] * 3 and len(index.passed) == 9
    assert all("thumbnails" in reason for _, reason in index.passed)


def test_classes_and_domains_called_mask_or_normal_are_kept(tmp_path):
    for folder in ("mask", "no_mask", "normal", "abnormal"):
        for video in range(2):
            for n in range(3):
                picture(tmp_path / folder / f"{folder}{video}" / f"{n}.png", n)
    assert build_index(tmp_path).classes == ["abnormal", "mask", "no_mask", "normal"]
