"""Translating in Python: tiles and windows give what the whole would, and what is returned is what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from films import check_kept, film, frames_of
from helpers import SHARED, joins

from vidiff.errors import RunError, UsageError
from vidiff.inference.jobs import Translated
from vidiff.inference.translate import frame_translator, side_by_side, translate_video
from vidiff.inference.windows import plan
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.nn.resnet import ResnetGenerator

TINY = dict(num_frames=4, resolution=16, width=4)


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    return CycleGAN(pool_size=1, **TINY).eval()


def test_tiles_give_what_the_whole_frame_gives():
    """A generator without global statistics: in tiles and in windows as at once, at a size that is no multiple of 4."""
    model = CycleGAN(generator=lambda spec: ResnetGenerator(spec, 1, norm="none"), pool_size=1, **TINY)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.generator_ema.module.parameters():
            torch.nn.init.normal_(p, 0.0, 0.15)
    video = np.random.default_rng(0).integers(0, 256, (5, 70, 101, 3), dtype=np.uint8)
    out = []
    for tile in (None, 64):
        out.append(np.stack(list(frame_translator(model, direction="a2b", tile=tile)(video))).astype(int))
    assert out[0].std() > 20 and np.abs(out[0] - out[1]).max() <= 1


@pytest.mark.parametrize("options", [{}, {"tile": 32}, {"resolution": 24}, {"stereo": "left-right"}])
def test_windows_in_batches_make_the_same_film(model, options):
    video = np.random.default_rng(0).integers(0, 256, (45, 34, 42, 3), dtype=np.uint8)
    single, several = (list(frame_translator(model, **options, batch_size=n)(video)) for n in (1, 4))
    assert np.stack(single).shape == video.shape and np.stack(single).std() > 1
    assert np.abs(np.stack(single).astype(int) - np.stack(several)).max() <= 1  # a level, where rounding tips over


def test_side_by_side_is_each_frame_beside_its_own():
    def late(frames):  # as windows are: two frames behind
        held = []
        for frame in frames:
            held.append(255 - frame)
            if len(held) > 2:
                yield held.pop(0)
        yield from held

    video = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), dtype=np.uint8)
    out = np.stack(list(side_by_side(late)(video)))
    assert np.array_equal(out, np.concatenate([video, 255 - video], axis=2))


def test_a_folder_gives_what_became_of_each_video(model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name, frames in (("a.mp4", 9), ("b.mkv", 5)):
        film(tmp_path / "in" / name, frames)
    (tmp_path / "in" / "cut.avi").write_bytes(b"no video" * 100)
    (tmp_path / "in" / "notes.txt").write_text("no video")
    with pytest.warns(UserWarning, match=r"(?s)passed over: 1.*notes.txt"):
        results = translate_video(model, tmp_path / "in", tmp_path / "out", direction="b2a", compare=True)
    by_name = {r.source.name: r for r in results}
    source, target = tmp_path / "in" / "a.mp4", tmp_path / "out" / "a.mp4"
    assert by_name["a.mp4"] == Translated(source, target, 9)
    assert by_name["b.mkv"].frames == 5 and len(results) == 3
    assert by_name["cut.avi"].path is None and "cut.avi: " in by_name["cut.avi"].error
    assert frames_of(target).shape == (9, 24, 64, 3) and capsys.readouterr().out == ""


def test_one_video_that_cannot_be_translated_is_an_error(model, tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(2000))
    with pytest.raises(RunError, match="a.mkv"):
        translate_video(model, tmp_path / "a.mkv", tmp_path / "out.mp4")
    film(tmp_path / "b.mp4")
    for wrong, said in ((dict(target="dusk"), "knows the domains"), (dict(window=0), "window must be at least 1")):
        with pytest.raises(UsageError, match=said):
            translate_video(model, tmp_path / "b.mp4", tmp_path / "out.mp4", **wrong)
    with pytest.raises(UsageError, match="DCGAN does not translate"):
        translate_video(DCGAN(latent_dim=4, **TINY), tmp_path / "b.mp4", tmp_path / "out.mp4")
    with pytest.raises(UsageError, match="no such file"):
        translate_video(model, tmp_path / "c.mp4", tmp_path / "out.mp4")
    assert sorted(p.name for p in Path(tmp_path).iterdir()) == ["a.mkv", "b.mp4"]


def join_ratio(translated: np.ndarray, source: np.ndarray, at: list[int]) -> float:
    """How much more a video (T, H, W, C) moves at its joins than at its median frame, over the same of its source."""

    def ratio(video: np.ndarray) -> float:
        moves = np.array([np.abs(b.astype(int) - a).mean() for a, b in zip(video, video[1:])])
        return float(moves[np.array(at) - 1].mean() / np.median(moves))

    return ratio(translated) / ratio(source)


def test_a_seam_is_seen_by_the_join_ratio():
    source = (np.arange(40)[:, None, None, None] * 2 + np.zeros((1, 8, 8, 3))).astype(np.uint8)
    at = joins(40, 8, 0, 0)
    assert join_ratio(source, source, at) == pytest.approx(1.0)
    seams = source.copy()
    seams[8:16] += 20
    assert join_ratio(seams, source, at) > 2


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in (SHARED / "data" / "clips").glob("*.mp4")][:3], ids=lambda p: p.name)
def test_windows_of_real_videos_leave_no_seams(path, tmp_path):
    """Everything is kept, and the frame difference where windows meet is at most 1.2 times what the source has."""
    model = CycleGAN(pool_size=1, **TINY).eval()
    translate_video(model, path, tmp_path / "out.mp4", resolution=64)
    check_kept(path, tmp_path / "out.mp4")
    out, source = frames_of(tmp_path / "out.mp4"), frames_of(path)
    at = joins(len(out), *plan(model.network(0, 1), model.spec.num_frames, None))
    assert not at or join_ratio(out, source, at) < 1.2
