"""`.npy` files: every order of axes is read right or refused, with the orders that are accepted."""

from __future__ import annotations

import numpy as np
import pytest

from vidiff.data.index import build_index
from vidiff.video.arrays import ORDERS, find_order, open_videos
from vidiff.video.open import open_reader
from vidiff.video.reader import ReadError
from vidiff.video.write import write_npy

SIZE = {"n": 5, "t": 7, "h": 10, "w": 12, "c": 3}


def stored(order: str) -> tuple[np.ndarray, np.ndarray]:
    """An array in an order, and the same as (N, T, H, W, C)."""
    size = {axis: SIZE[axis] if axis in order else 1 for axis in "nthwc"}
    videos = np.random.default_rng(0).integers(0, 256, tuple(size.values()), dtype=np.uint8)
    array = np.squeeze(videos, tuple("nthwc".index(axis) for axis in "nthwc" if axis not in order))
    left = [axis for axis in "nthwc" if axis in order]
    return array.transpose([left.index(axis) for axis in order]), videos


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_in_the_name_is_believed(tmp_path, order):
    array, videos = stored(order)
    for name in (f"clips.{order}.npy", f"{order}.npy", f"my_{order.upper()}_1.npy"):
        np.save(tmp_path / name, array)
        assert find_order(tmp_path / name) == order
        assert np.array_equal(open_videos(tmp_path / name), videos)


@pytest.mark.parametrize("order", ["ntchw", "ncthw", "nthwc", "thwc", "thw"])
def test_orders_that_only_fit_in_one_way_need_no_name(tmp_path, order):
    array, videos = stored(order)
    np.save(tmp_path / "x.npy", array)
    entries = build_index(tmp_path).entries
    assert [e.files for e in entries] == [(str(n), order) for n in range(len(videos))]
    for entry, video in zip(entries, videos):
        frames = open_reader(tmp_path / "x.npy", "array", files=entry.files).read([6, 0])
        assert np.array_equal(frames, np.broadcast_to(video[[6, 0]], (2, 10, 12, 3)))


def test_what_cannot_be_told_is_refused_with_the_names_that_help(tmp_path):
    for shape in ((6, 12, 32, 32), (12, 6, 32, 32), (12, 3, 32, 32), (4, 3, 3, 32, 32)):
        np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
        with pytest.raises(ReadError, match=r"order of its axes cannot be told.*x\.\w+\.npy or x\.\w+\.npy"):
            find_order(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.zeros((6, 12, 32, 32), np.uint8))
    index = build_index(tmp_path)
    assert not index.entries and "x.tnhw.npy" in index.passed[0][1]
    (tmp_path / "x.npy").rename(tmp_path / "x.nthw.npy")
    assert [e.num_frames for e in build_index(tmp_path).entries] == [12] * 6
    (tmp_path / "x.nthw.npy").rename(tmp_path / "x.tnhw.npy")  # the same content, measured before in another order
    assert [e.num_frames for e in build_index(tmp_path).entries] == [6] * 12


def test_moving_mnist_is_known_by_its_name(tmp_path):
    np.save(tmp_path / "mnist_test_seq.npy", np.zeros((20, 6, 64, 64), np.uint8))
    assert find_order(tmp_path / "mnist_test_seq.npy") == "tnhw"


@pytest.mark.parametrize("clips", [(4, 3, 8, 16, 16), (4, 1, 8, 16, 16)])
def test_own_arrays_can_be_read(tmp_path, clips):
    import torch

    made = torch.randint(0, 256, clips, dtype=torch.uint8)
    write_npy(tmp_path / "clips.npy", made)
    entries = build_index(tmp_path).entries
    assert len(entries) == 4 and {e.num_frames for e in entries} == {8}
    frames = open_reader(tmp_path / "clips.npy", "array", files=entries[2].files).read(range(8))
    assert np.array_equal(frames, np.broadcast_to(made[2].permute(1, 2, 3, 0).numpy(), (8, 16, 16, 3)))


def test_other_contents_are_passed_over_with_the_reason(tmp_path):
    np.save(tmp_path / "floats.npy", np.zeros((3, 8, 16, 16, 3), np.float32))
    np.save(tmp_path / "labels.npy", np.arange(4))
    np.save(tmp_path / "small.npy", np.zeros((4, 4, 4, 4), np.uint8))
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "floats.npy").read_bytes()[:60])
    reasons = dict(build_index(tmp_path).passed)
    assert "save it as uint8" in reasons["floats.npy"] and "channels" in reasons["floats.npy"]
    assert "no videos" in reasons["labels.npy"] and "no order" in reasons["small.npy"]
    assert ".npz" in reasons["many.npz"] and "cut off" in reasons["cut.npy"]
