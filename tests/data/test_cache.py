"""Decoded frames kept on disk or in memory: the same clips to the bit, whatever happens to the files."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vidiff.data import cache as caches
from vidiff.data import dataset as dataset_module
from vidiff.data.cache import DiskCache, RamCache, Video
from vidiff.data.datamodule import ClipDataModule
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import build_index
from vidiff.data.loader import BadFiles, ClipLoader
from vidiff.files import TEMPORARY
from vidiff.video import patience
from vidiff.video.patience import within

GB = 10**9
SHAPE = (3, 300, 4, 4)


def truth(video: str, indices) -> np.ndarray:
    """Frames (3, n, 4, 4) that tell video and number."""
    rng = [np.random.default_rng([ord(c) for c in video] + [int(i)]) for i in indices]
    return np.stack([r.integers(0, 256, (3, 4, 4), dtype=np.uint8) for r in rng], axis=1)


class Decoder:
    """Counts what it decodes."""

    def __init__(self, video):
        self.video, self.frames = video, 0

    def __call__(self, indices):
        self.frames += len(indices)
        return truth(self.video, indices)


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("indices", [[0], [255, 256], range(250, 266), range(3, 300, 40), [299], range(300)])
def test_pieces_are_put_together(tmp_path, indices):
    cache, decode, indices = DiskCache(GB, tmp_path), Decoder("v"), np.array(indices)
    for attempt in range(2):
        frames = cache.read(Video("v", SHAPE), indices, decode)
        assert np.array_equal(frames, truth("v", indices)) and frames.flags.writeable and frames.flags.c_contiguous
        if not attempt:
            decoded = decode.frames
    assert decode.frames == decoded  # everything came from the files
    assert decoded == sum({0: 256, 1: 44}[piece] for piece in set((indices // 256).tolist()))


def test_a_clip_is_mapped_not_loaded(tmp_path, monkeypatch):
    shape = (3, 256, 256, 256)  # 50 MB
    cache, big = DiskCache(GB, tmp_path), lambda i: np.zeros((3, len(i), 256, 256), np.uint8)
    cache.read(Video("big", shape), np.arange(4), big)
    script = f"""
        import resource, numpy as np
        from vidiff.data.cache import DiskCache, Video
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cache = DiskCache({GB}, {str(tmp_path)!r})
        for start in range(0, 240, 60):
            cache.read(Video("big", {shape}), np.arange(start, start + 4), None)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert int(out.stdout) < 20_000  # KiB; the four clips are 3 MB


@pytest.mark.parametrize("harm", ["truncate", "extend", "empty", "header", "shape", "folder"])
def test_damaged_files_are_made_again(tmp_path, harm):
    cache, decode = DiskCache(GB, tmp_path), Decoder("v")
    video, indices = Video("v", (3, 10, 4, 4)), np.arange(4)
    cache.read(video, indices, decode)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    if harm == "folder":
        path.unlink()
        path.parent.rmdir()
    else:
        other = np.zeros((3, 10, 8, 2), np.uint8)  # as long as the right one
        np.save(tmp_path / "other.npy", other)
        wrong = (tmp_path / "other.npy").read_bytes()
        (tmp_path / "other.npy").unlink()
        path.write_bytes(
            {
                "truncate": whole[:-1],
                "extend": whole + b"x",
                "empty": b"",
                "header": b"\0" + whole[1:],
                "shape": wrong,
            }[harm]
        )
    assert np.array_equal(cache.read(video, indices, decode), truth("v", indices)) and decode.frames == 20
    assert path.read_bytes() == whole and np.array_equal(np.load(path), truth("v", range(10)))


def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path):
    script = f"""
        import os, signal
        import numpy as np
        from vidiff.data import cache as caches
        from vidiff.data.cache import Video
        caches.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        video, decode = Video("v", (3, 10, 4, 4)), lambda i: np.ones((3, len(i), 4, 4), np.uint8)
        caches.DiskCache({GB}, {str(tmp_path)!r}).read(video, np.arange(4), decode)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == -9
    (rest,) = files(tmp_path)
    assert TEMPORARY.fullmatch(rest.name)
    elsewhere = rest.with_name(".vidiff-elsewhere-1-x.part.npy")
    elsewhere.write_bytes(rest.read_bytes())
    cache, decode = DiskCache(GB, tmp_path), Decoder("v")
    assert np.array_equal(cache.read(Video("v", (3, 10, 4, 4)), np.arange(4), decode), truth("v", range(4)))
    assert not rest.exists() and elsewhere.exists()  # of another machine: its writer may be alive
    os.utime(elsewhere, (time.time() - 7200,) * 2)
    DiskCache(GB, tmp_path).read(Video("w", (3, 10, 4, 4)), np.arange(4), Decoder("w"))
    assert not elsewhere.exists() and len(files(tmp_path)) == 2


def test_two_runs_build_the_same_file_at_once(tmp_path):
    script = f"""
        import sys, time
        import numpy as np
        from vidiff.data.cache import DiskCache, Video
        cache = DiskCache({GB}, {str(tmp_path)!r})
        for n in range(40):
            decode = lambda i: np.full((3, len(i), 64, 64), n, np.uint8)
            frames = cache.read(Video(f"{{n}}", (3, 8, 64, 64)), np.arange(2, 6), decode)
            assert (frames == n).all() and frames.shape == (3, 4, 64, 64)
        print("fine")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [run.communicate()[0] for run in runs] == ["fine\n"] * 3
    assert len(files(tmp_path)) == 40


def test_the_limit_holds_and_what_this_run_uses_stays(tmp_path):
    size = 3 * 10 * 4 * 4
    limit = 20 * (size + 128)

    def fill(cache, names):
        for name in names:
            decode = Decoder(name)
            for _ in range(2):
                assert np.array_equal(
                    cache.read(Video(name, (3, 10, 4, 4)), np.arange(3), decode), truth(name, range(3))
                )
            yield decode.frames

    first = DiskCache(limit, tmp_path)
    assert list(fill(first, [f"old{n}" for n in range(10)])) == [10] * 10
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (time.time() - 1000 - age,) * 2)  # old9 is the one unused for longest
    second = DiskCache(limit, tmp_path)
    second.prepare([Video("old9", (3, 10, 4, 4))], None)  # this run will need it
    decoded = list(fill(second, [f"new{n}" for n in range(40)]))
    kept = {p.name for p in files(tmp_path)}
    assert sum(p.stat().st_size for p in files(tmp_path)) <= limit and "old9-0.npy" in kept
    assert not any(name.startswith("old8") for name in kept)
    assert decoded[0] == 10 and decoded[-1] == 2 * 3  # no room: the frames of the clip alone, each time
    assert 12 <= len(kept) <= 20 and second.full
    assert list(fill(DiskCache(0, tmp_path / "none"), ["a"])) == [6]


def test_a_disk_that_fails_costs_nothing_but_time(tmp_path, monkeypatch, strips):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache, decode = DiskCache(GB, blocked), Decoder("v")
    assert "cannot be written" in cache.unusable() and DiskCache(GB, tmp_path / "fine").unusable() is None
    assert np.array_equal(cache.read(Video("v", SHAPE), np.arange(4), decode), truth("v", range(4)))
    monkeypatch.setenv("VIDIFF_CACHE_DIR", str(blocked))
    data = ClipDataModule(strips, num_frames=4, num_workers=0, augment="none")
    with pytest.warns(UserWarning, match="decoded frames are not kept"):
        assert next(iter(data.train_dataloader()))["clip"].shape[0] == 16


def sources(make, root, backend="pyav"):
    """One video of every kind; the long one takes two pieces."""
    make.video(root / "a.mp4", frames=40)
    make.video(root / "long.avi", codec="mpeg4", frames=300)
    make.strip(root / "strips" / "strip.png", frames=20)  # a picture beside videos is passed over
    make.frames(root / "folder", frames=12)
    return build_index(root, backend)


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("geometry", [{}, dict(fit="stretch"), dict(channels=1, frame_stride=3)])
def test_cached_clips_are_equal_to_the_bit(make, tmp_path, geometry, backend):
    index = sources(make, tmp_path / "set", backend)
    assert [e.decoder for e in index.entries] == [backend, "", backend, ""]
    options = dict(num_frames=4, resolution=16, on_error="raise") | geometry
    long = [e.path for e in index.entries].index("long.avi")
    plain = ClipDataset(index.root, index.entries, **options)
    disk, ram = DiskCache(GB, tmp_path / "frames"), RamCache(GB)
    for cache in (disk, disk, ram):
        cached = ClipDataset(index.root, index.entries, **options, cache=cache)
        for slot in range(24):
            a, b = plain[(slot, slot % 4)], cached[(slot, slot % 4)]
            assert torch.equal(a.pop("clip"), b.pop("clip")) and a == b
        across = 250 + 3 * np.arange(4)  # the end of one piece and the beginning of the next
        decode = functools.partial(cached._decode, long)
        assert np.array_equal(plain._decode(long, across), cache.read(cached.videos[long], across, decode))
    assert len(files(tmp_path / "frames")) == 5


def test_real_clips_are_equal_to_the_bit(make, tmp_path):
    if not (make.shared / "clips").is_dir():
        pytest.skip("../shared/data/clips is not here")
    index = build_index(make.shared / "clips")
    plain = ClipDataset(index.root, index.entries, 8, 32, on_error="raise")
    cached = ClipDataset(index.root, index.entries, 8, 32, on_error="raise", cache=DiskCache(GB, tmp_path))
    for slot in range(2 * len(plain)):
        assert torch.equal(plain[(slot, slot % len(plain))]["clip"], cached[(slot, slot % len(plain))]["clip"]), slot


def test_each_way_of_decoding_has_files_of_its_own(make, tmp_path):
    make.video(tmp_path / "set" / "a.mp4")
    ways = [{}, dict(resolution=20), dict(fit="stretch"), dict(channels=1), dict(backend="decord"), dict(seed=3)]
    for n, options in enumerate(ways):
        options = dict(resolution=16) | options
        index = build_index(tmp_path / "set", options.pop("backend", "pyav"))
        ClipDataset(index.root, index.entries, 4, cache=DiskCache(GB, tmp_path / "f"), **options)[(0, 0)]
        assert len(files(tmp_path / "f")) == min(n + 1, 5)  # the seed changes no pixel


@pytest.mark.parametrize("mode", ["disk", "ram"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_datamodule_gives_the_same_stream_and_evaluation(strips, mode, workers):
    options = dict(num_frames=4, resolution=16, batch_size=4, clips_per_epoch=24, augment="none")
    plain = ClipDataModule(strips, **options, num_workers=0, cache="none")
    cached = ClipDataModule(strips, **options, num_workers=workers, cache=mode)
    for _ in range(2):
        for a, b in zip(plain.train_dataloader(), cached.train_dataloader(), strict=True):
            assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        for a, b in zip(plain.eval_clips("val", 9, 1), cached.eval_clips("val", 9, 1), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b))
    assert isinstance(cached.frame_cache, {"disk": DiskCache, "ram": RamCache}[mode])


def test_memory_is_bounded_and_shared(make, tmp_path):
    index = sources(make, tmp_path)
    size = 3 * 16 * 16
    cache = RamCache(60 * size)
    dataset = ClipDataset(index.root, index.entries, 4, 16, cache=cache)
    assert 40 * size <= sum(a.nbytes for a in cache.pieces.values()) <= 60 * size
    held = dict(cache.pieces)
    again = ClipDataset(index.root, index.entries, 4, 16, cache=cache, purpose="other")
    assert all(cache.pieces[k] is held[k] for k in held)
    for n in range(4):
        assert dataset[(n, n)]["clip"].shape == again[(n, n)]["clip"].shape == (3, 4, 16, 16)
    with pytest.warns(UserWarning, match="take 0.0 GB, more than cache_limit_gb=1e-06"):
        _ = ClipDataModule(tmp_path, cache="ram", cache_limit_gb=1e-6).frame_cache


@pytest.mark.parametrize("mode", [None, "disk", "ram"])
@pytest.mark.filterwarnings("ignore:cannot read")
def test_damage_changes_nothing(make, tmp_path, mode):
    for n in range(3):
        make.video(tmp_path / "set" / f"{n}.mp4", frames=40)
    make.damage(make.noise(tmp_path / "set" / "hole.mp4"))
    index = build_index(tmp_path / "set")
    plain = ClipDataset(index.root, index.entries, 4, 16)
    cache = {None: lambda: None, "disk": lambda: DiskCache(GB, tmp_path / "f"), "ram": lambda: RamCache(GB)}[mode]()
    cached = ClipDataset(index.root, index.entries, 4, 16, cache=cache)
    hole = [e.path for e in index.entries].index("hole.mp4")
    good = 0
    for slot in range(30):
        a, b = plain[(slot, hole)], cached[(slot, hole)]
        assert torch.equal(a.pop("clip"), b.pop("clip")) and a == b
        good += a["video"] == hole
    assert 0 < good < 30


class Patient(ClipDataset):
    """Waits for every file but the first for ever, however busy the machine is."""

    def _decode(self, video, indices):
        self.patience = 0.2 if video == 0 else 0.0
        return super()._decode(video, indices)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_a_file_that_hangs_is_passed_over(strips, tmp_path, monkeypatch, workers, cached):
    index = build_index(strips)
    stuck = index.root / index.entries[0].path
    real, never = dataset_module.read_square, threading.Event()

    def read_square(reader, *args):
        if reader.path == stuck:
            never.wait()
        return real(reader, *args)

    monkeypatch.setattr(dataset_module, "read_square", read_square)
    cache = DiskCache(GB, tmp_path) if cached else None
    dataset = Patient(index.root, index.entries, 4, 16, classes=index.classes, cache=cache)
    loader = ClipLoader(
        dataset,
        4,
        24,
        bad_files=BadFiles(12, 0.1),
        num_workers=workers,
        multiprocessing_context=workers and "fork" or None,
    )
    with pytest.warns(UserWarning, match=f"{stuck.name}: still not decoded after 0.2 s"):
        batches = list(loader)
    loader.close()
    assert torch.cat([b["slot"] for b in batches]).tolist() == list(range(24))
    assert not any((b["video"] == 0).any() for b in batches) and list(loader.bad_files.files) == [str(stuck)]


def test_within():
    assert within(0, lambda: 1) == within(600, lambda: 1) == 1
    with pytest.raises(KeyError):
        within(600, lambda: {}["x"])
    with pytest.raises(TimeoutError):
        within(0.05, threading.Event().wait)


def test_waiting_for_a_core_does_not_count(monkeypatch):
    """A decoder that takes 1000 s of the clock, all of them in the queue for a core, is not given up after 0.01 s."""
    assert patience.queued() >= 0
    done, looks = threading.Event(), []

    def queued() -> float:
        looks.append(100.0)
        if len(looks) == 10:
            done.set()
        return sum(looks)

    monkeypatch.setattr(patience, "queued", queued)
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: sum(looks)))
    assert within(0.01, lambda: done.wait() and 1) == 1 and len(looks) >= 10


def test_old_last_use_is_noted_again(tmp_path):
    cache, video = DiskCache(GB, tmp_path), Video("v", (3, 10, 4, 4))
    cache.read(video, np.arange(2), Decoder("v"))
    (path,) = files(tmp_path)
    for age, noted in ((0, False), (caches.TOUCHED * 2, True)):
        before = time.time() - age
        os.utime(path, (before,) * 2)
        cache.read(video, np.arange(2), None)
        assert (path.stat().st_mtime > before + 1) == noted
