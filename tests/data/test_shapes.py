"""The embedded data set: a pure function of its seed, true to its stated positions, paired where it says so."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import av
import numpy as np
import pytest

from vidiff.data.shapes import render as shapes
from vidiff.data.shapes.scene import CLASSES, render_panorama, render_scene, scene_truth, truth_of
from vidiff.data.shapes.styles import SHAPES, STYLES, distance
from vidiff.errors import UsageError

SIZE = dict(frames=6, resolution=32)


def decode(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def tree(root) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_importing_and_rendering_does_not_need_torch():
    code = "import sys; from vidiff.data.shapes.render import render_scene as r; r(0, 0, frames=2); "
    code += "print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize("style", STYLES)
def test_scene_is_a_function_of_seed_and_number(style):
    first = render_scene(3, 9, style, **SIZE)
    assert first.shape == (6, 32, 32, 3) and first.dtype == np.uint8
    render_scene(5, 1, style, **SIZE)
    assert np.array_equal(first, render_scene(3, 9, style, **SIZE))
    assert np.array_equal(first[:4], render_scene(3, 9, style, frames=4, resolution=32))
    assert not np.array_equal(first, render_scene(4, 9, style, **SIZE))
    assert not np.array_equal(first, render_scene(3, 13, style, **SIZE))


def test_bad_requests_are_refused():
    with pytest.raises(UsageError, match="plain, night, cartoon, sketch"):
        render_scene(0, 0, "oil")
    with pytest.raises(UsageError, match="at least"):
        render_scene(0, 0, frames=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_are_centred_and_of_about_unit_radius(shape):
    axis = np.linspace(-1.6, 1.6, 321)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    inside = distance(shape, u, v) < 0
    assert abs(u[inside].mean()) < 0.02 and abs(v[inside].mean()) < 0.02
    assert 0.9 < np.hypot(u, v)[inside].max() < 1.35
    gradient = np.hypot(*np.gradient(distance(shape, u, v), axis[1] - axis[0]))
    assert np.median(gradient) == pytest.approx(1.0, abs=0.01)  # a distance grows by one a unit


@pytest.mark.parametrize("scene", range(8))
def test_truth_is_where_the_sprites_are(scene):
    resolution = 64
    full = render_scene(0, scene, "cartoon", frames=12, resolution=resolution)  # no shadows in this style
    empty = render_scene(0, scene, "cartoon", frames=12, resolution=resolution, sprites=False)
    truth = scene_truth(0, scene, frames=12, resolution=resolution)
    changed = np.abs(full.astype(int) - empty).sum(-1) > 60
    y, x = np.mgrid[:resolution, :resolution]
    for t in range(12):
        centres, radii = truth["positions"][t], truth["radii"][t]
        near = np.stack([np.hypot(x - cx, y - cy) - 1.3 * r for (cx, cy), r in zip(centres, radii)])
        assert not changed[t][near.min(0) > 5].any()  # nothing is drawn elsewhere; tips have pointed outlines
        apart = len(centres) == 1 or np.hypot(*(centres[0] - centres[1])) > 1.5 * radii[:2].sum()
        for i, (cx, cy) in enumerate(centres):
            mine = changed[t] & (near.argmin(0) == i)
            if apart and min(cx, cy, 63 - cx, 63 - cy) > 1.4 * radii[i]:
                assert x[mine].mean() == pytest.approx(cx, abs=1.0)
                assert y[mine].mean() == pytest.approx(cy, abs=1.0)


def test_truth_scales_with_the_size():
    small, large = (scene_truth(0, 5, resolution=r) for r in (32, 64))
    np.testing.assert_allclose(2 * (small["positions"] + 0.5), large["positions"] + 0.5)
    np.testing.assert_allclose(2 * small["speed"], large["speed"])
    np.testing.assert_allclose(2 * small["radii"], large["radii"])


@pytest.mark.parametrize("k", range(5))
def test_the_four_motions_are_what_they_are_called(k):
    truths = {name: scene_truth(1, 4 * k + i, frames=32) for i, name in enumerate(CLASSES)}
    for truth in truths.values():
        assert truth["positions"].shape == (32, len(truth["shapes"]), 2)
    span = {name: np.ptp(truth["positions"], axis=0) for name, truth in truths.items()}  # (S, 2)
    assert (span["slide"][:, 0] > 25).all() and (span["slide"][:, 1] < 1e-6).all()
    assert (span["bounce"][:, 1] > 20).all() and (span["bounce"][:, 0] < 10).all()
    assert (span["pulse"] < 1e-6).all() and (truths["pulse"]["speed"] < 1e-6).all()
    assert (truths["pulse"]["radii"].max(0) > 2 * truths["pulse"]["radii"].min(0)).all()
    assert all(np.allclose(np.ptp(truths[n]["radii"], axis=0), 0) for n in ("slide", "bounce", "orbit"))
    middle = truths["orbit"]["positions"] - truths["orbit"]["positions"].mean((0, 1))
    assert (span["orbit"] > 22).all() and np.hypot(*middle.T).std() < 3.0
    # Bouncing loses height, so it has an arrow of time: the peaks of the second half are lower (y points down).
    height = truths["bounce"]["positions"][..., 1]
    assert (height[20:].min(0) > height[:8].min(0) + 3).all()


def edges(clip: np.ndarray) -> np.ndarray:
    """Total gradient magnitude of a (T, H, W, 3) clip, blurred a little, (T, H, W)."""
    grey = clip.astype(float)
    size = sum(np.hypot(*np.gradient(grey[..., c], axis=(1, 2))) for c in range(3))
    return sum(np.roll(size, s, axis=a) for s, a in itertools.product((-1, 0, 1), (1, 2)))


def test_styles_share_geometry_and_differ_in_look():
    scenes = range(8)
    clips = {s: [render_scene(0, n, s, frames=2) for n in scenes] for s in STYLES}
    lines = {s: [edges(clip).ravel() for clip in clips[s]] for s in STYLES}
    for a, b in itertools.combinations(STYLES, 2):
        table = np.array([[np.corrcoef(lines[a][n], lines[b][m])[0, 1] for m in scenes] for n in scenes])
        assert (table.argmax(1) == scenes).all() and (table.argmax(0) == scenes).all()  # each finds its own scene
        assert np.diag(table).min() > 0.45 and np.diag(table).mean() > table.mean() + 0.3
        assert max(shapes.psnr(p, q) for p, q in zip(clips[a], clips[b])) < 20
    assert np.mean(clips["night"]) < 0.6 * np.mean(clips["plain"])
    colour = {s: np.ptp(np.array(c).astype(int), axis=-1).mean() for s, c in clips.items()}
    assert colour["sketch"] < 25 < colour["plain"] < colour["cartoon"]


def test_palette_tells_colours_apart():
    """No channel swap and no inversion maps the colours of a style onto themselves."""
    pixels = np.concatenate([render_scene(0, n, frames=2).reshape(-1, 3) for n in range(12)])
    ours = np.stack([np.percentile(pixels, q, axis=0) for q in (2, 10, 25, 50, 75, 90, 98)])
    for order in itertools.permutations(range(3)):
        if order != (0, 1, 2):
            assert np.abs(ours[:, order] - ours).mean() > 8, order
    assert np.abs((255 - ours[::-1]) - ours).mean() > 8


def test_dataset_layout_record_and_repeatability(tmp_path):
    one = shapes.render_dataset(tmp_path / "one", videos=6, seed=2, **SIZE)
    two = shapes.render_dataset(tmp_path / "two", videos=6, seed=2, **SIZE)
    assert one == two == json.loads((tmp_path / "one" / "shapes.json").read_text())
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]  # no temporary folders left
    assert one["classes"] == {"bounce": 2, "orbit": 2, "pulse": 1, "slide": 1} and one["files"] == 6
    raw, back = render_scene(2, 4, **SIZE), decode(tmp_path / "one" / "bounce" / "00004.mp4")
    assert back.shape == raw.shape and shapes.psnr(raw, back) > 25
    other = shapes.render_dataset(tmp_path / "three", videos=6, seed=3, **SIZE)
    assert other["sha256"] != one["sha256"]


@pytest.mark.parametrize("style", STYLES)
def test_files_look_like_the_raw_pixels(tmp_path, style):
    shapes.render_dataset(tmp_path / "d", videos=2, frames=8, styles=(style,))
    raw, back = render_scene(0, 1, style, frames=8), decode(tmp_path / "d" / "orbit" / "00001.mp4")
    assert shapes.psnr(raw.mean(-1, keepdims=True).astype(np.uint8), back.mean(-1, keepdims=True).astype(np.uint8)) > 30


def test_dataset_is_kept_when_the_same_and_never_overwritten(tmp_path):
    out = tmp_path / "d"
    out.mkdir()  # an empty folder may be filled
    record = shapes.render_dataset(out, videos=4, **SIZE)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert shapes.render_dataset(out, videos=4, **SIZE) == record
    with pytest.raises(UsageError, match="seed: 0 there, 1 asked"):
        shapes.render_dataset(out, videos=4, seed=1, **SIZE)
    with pytest.raises(UsageError, match="layout"):
        shapes.render_domains(out, videos=4, **SIZE)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    (out / "bounce" / "00000.mp4").unlink()
    with pytest.raises(UsageError, match="damaged: 3 videos of 4"):
        shapes.render_dataset(out, videos=4, **SIZE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(UsageError, match="not a shapes data set"):
        shapes.render_dataset(tmp_path / "mine", videos=4, **SIZE)
    assert tree(tmp_path / "mine") == {"holiday.mp4": b"x"}


def test_two_processes_may_make_the_same_set(tmp_path, monkeypatch):
    """Whoever finishes second takes what is there if it is the same, and refuses otherwise."""
    write, faster = shapes.media.write_mp4, dict(seed=0)

    def interrupted(path, *args, **kwargs):
        monkeypatch.setattr(shapes.media, "write_mp4", write)
        shapes.render_dataset(tmp_path / "d", videos=4, **SIZE, **faster)
        write(path, *args, **kwargs)

    monkeypatch.setattr(shapes.media, "write_mp4", interrupted)
    record = shapes.render_dataset(tmp_path / "d", videos=4, seed=0, **SIZE)
    before = tree(tmp_path / "d")
    assert record == json.loads(before["shapes.json"]) and [p.name for p in tmp_path.iterdir()] == ["d"]
    (tmp_path / "d").rename(tmp_path / "e")
    monkeypatch.setattr(shapes.media, "write_mp4", interrupted)
    with pytest.raises(UsageError, match="another"):
        shapes.render_dataset(tmp_path / "d", videos=4, seed=1, **SIZE)
    assert tree(tmp_path / "d") == before


def test_failed_rendering_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes.media, "write_mp4", fail)
    with pytest.raises(KeyboardInterrupt):
        shapes.render_dataset(tmp_path / "d", videos=4, **SIZE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("styles", [("plain", "night"), ("plain", "cartoon", "sketch")])
def test_domains_are_disjoint_in_train_and_paired_in_test(tmp_path, styles):
    record = shapes.render_domains(tmp_path / "d", 5, 7, styles, **SIZE, test_videos=3)
    if len(styles) == 2:
        train, test = [["trainA", "trainB"], ["testA", "testB"]]
    else:
        train, test = [[f"{part}/{style}" for style in styles] for part in ("train", "test")]
    names = {folder: {p.name for p in (tmp_path / "d" / folder).iterdir()} for folder in train + test}
    assert record["folders"] == dict(zip(train + test, styles * 2))
    assert all(len(names[folder]) == 5 for folder in train)
    assert len(set().union(*(names[folder] for folder in train))) == 5 * len(styles)
    assert all(names[folder] == names[test[0]] and len(names[folder]) == 3 for folder in test)
    assert not names[test[0]] & set().union(*(names[folder] for folder in train))
    name = min(names[test[1]])
    want = render_scene(7, int(name[:5]), styles[1], **SIZE)
    assert shapes.psnr(want, decode(tmp_path / "d" / test[1] / name)) > 25
    # The bar a translation has to pass, from its definition.
    scenes = [int(n[:5]) for n in names[test[0]]]
    for a, b in itertools.combinations(styles, 2):
        pairs = [(render_scene(7, n, a, **SIZE), render_scene(7, n, b, **SIZE)) for n in scenes]
        mean = np.mean([10 * np.log10(255**2 / np.mean((p / 1.0 - q) ** 2)) for p, q in pairs])
        assert record["identity_psnr"][f"{a}-{b}"] == pytest.approx(mean, abs=1e-3) and mean < 20


def test_domains_need_two_different_styles(tmp_path):
    for styles in (("plain",), ("plain", "plain")):
        with pytest.raises(UsageError, match="style"):
            shapes.render_domains(tmp_path / "d", 4, 0, styles)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scene", [0, 5])
def test_panorama_meets_itself(style, scene):
    """Across the seam neighbouring columns differ no more than anywhere else."""
    clip = render_panorama(0, scene, frames=2, height=64, style=style).astype(float)
    assert clip.shape == (2, 64, 128, 3)
    steps = np.abs(clip - np.roll(clip, 1, axis=2)).mean(axis=(0, 1, 3))  # step into each column; [0] is the seam
    assert steps[0] <= np.sort(steps)[-2] and steps[0] < 2.5 * np.median(steps) + 1


def test_panorama_is_a_picture_of_the_sphere():
    """Near the poles all longitudes show almost the same point; in the middle they do not."""
    clip = render_panorama(0, 2, frames=1, height=128).astype(float)[0]
    around = clip.std(axis=1).mean(-1)  # (H,)
    assert around[0] < 3 and around[-1] < 3 and around[40:88].mean() > 8


def test_what_is_known_is_known_of_rendered_sets_only(tmp_path):
    """Another folder, or one that another version of the renderer made, is like anybody's videos."""
    assert truth_of(tmp_path, 16) is None
    shapes.render_dataset(tmp_path / "d", videos=4, frames=4, resolution=16)
    truth = truth_of(tmp_path / "d", 32)
    known = truth.speed_and_positions("bounce/00001.mp4", range(4))
    where = scene_truth(0, 1, frames=4, resolution=32)["positions"]
    np.testing.assert_allclose(known["positions"][:, : where.shape[1]], where)
    steps = np.linalg.norm(np.diff(where, axis=0), axis=-1)
    assert known["speed"] == pytest.approx(np.nanmean(steps)) and truth.speed("00001.mp4", range(1)) == {"speed": 0.0}
    record = json.loads((tmp_path / "d" / "shapes.json").read_text())
    (tmp_path / "d" / "shapes.json").write_text(json.dumps(record | {"version": 0}))
    assert truth_of(tmp_path / "d", 32) is None
