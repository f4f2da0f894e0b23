"""The stream: slots over ranks, resuming anywhere, workers, bad files, time-outs."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from vidiff.data.dataset import ClipDataset
from vidiff.data.index import build_index
from vidiff.data.loader import BadFiles, ClipLoader, ClipPass
from vidiff.errors import RunError, UsageError
from vidiff.video.open import open_reader
from vidiff.video.reader import ReadError


@pytest.fixture
def clips(strips):
    index = build_index(strips)

    def dataset(cls=ClipDataset, **options):
        geometry = dict(num_frames=4, resolution=16, frame_stride=2, classes=index.classes) | options
        return cls(index.root, index.entries, **geometry)

    return dataset


def run(loader, epochs):
    return [batch for _ in range(epochs) for batch in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.keys() == y.keys() == {"clip", "label", "video", "start", "slot"}
        assert all(torch.equal(x[k], y[k]) for k in x)


def test_items_are_what_the_reader_gives(clips):
    dataset = clips(seed=5)
    item = dataset[(17, 3)]
    entry = dataset.entries[3]
    reader = open_reader(dataset.path(3), entry.kind)
    frames = reader.read(item["start"] + 2 * np.arange(4), 16, 16)
    assert item["clip"].dtype == torch.uint8 and item["clip"].shape == (3, 4, 16, 16)
    assert np.array_equal(item["clip"].permute(1, 2, 3, 0), frames)
    assert (item["label"], item["video"], item["slot"], item["bad"]) == (0, 3, 17, [])
    assert torch.equal(item["clip"], clips(seed=5)[(17, 3)]["clip"])
    assert len({clips(seed=s)[(17, 3)]["start"] for s in range(30)}) > 5
    assert len({dataset[(slot, 3)]["start"] for slot in range(60)}) == 14  # every start that fits
    grey = clips(seed=5, channels=1)[(17, 3)]["clip"]
    luma = (frames @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    assert grey.shape == (1, 4, 16, 16) and np.abs(grey[0].numpy() - luma).max() <= 0.51
    assert clips(num_frames=1, frame_stride=1)[(0, 0)]["clip"].shape == (3, 1, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_and_slots(clips, workers):
    loader = ClipLoader(clips(), 5, clips_per_epoch=24, num_workers=workers)
    assert len(loader) == 4  # 24 cut to 20
    batches = run(loader, 2)
    assert torch.cat([b["slot"] for b in batches]).tolist() == list(range(40))
    assert batches[0]["clip"].shape == (5, 3, 4, 16, 16) and batches[0]["label"].dtype == torch.int64
    assert all(b["label"].tolist() == [int(v) // 4 for v in b["video"]] for b in batches)
    counts = torch.cat([b["video"] for b in batches]).bincount()
    assert counts.max() - counts.min() <= 1
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_anywhere_gives_exactly_the_next_batch(clips, workers):
    straight = run(ClipLoader(clips(), 4, 16), 4)
    for done in (1, 3, 4, 6, 8):
        first = ClipLoader(clips(), 4, 16, num_workers=workers)
        handed = 0
        while handed < done:
            for _ in first:
                handed += 1
                if handed == done:
                    state = first.state_dict()
                    break
        first.close()
        second = ClipLoader(clips(), 4, 16, num_workers=workers)
        second.load_state_dict(state)
        rest = list(second)
        assert len(rest) == 4 - done % 4  # to the end of the epoch
        assert_same(rest + list(second), straight[done : done + len(rest) + 4])
        second.close()
    assert all(isinstance(v, (int, str)) for v in state.values())


def test_iterating_again_goes_on_and_loses_nothing(clips):
    straight = run(ClipLoader(clips(), 4, 16), 2)
    loader = ClipLoader(clips(), 4, 16)
    seen = []
    for batch in loader:
        seen.append(batch)
        if len(seen) == 2:
            break
    iter(loader)  # Lightning asks for iterators that it never uses
    seen += list(loader) + list(loader)
    assert_same(seen, straight)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_global_batch(clips, world):
    one = run(ClipLoader(clips(), 2 * world, 24), 2)
    many = [run(ClipLoader(clips(), 2, 24, rank=r, world=world), 2) for r in range(world)]
    joined = [{k: torch.cat([part[k] for part in parts]) for k in parts[0]} for parts in zip(*many)]
    assert_same(joined, one)
    assert many[1][0]["slot"].tolist() == [2, 3]


def test_state_does_not_depend_on_the_rank_and_changes_are_said(clips):
    a, b = (ClipLoader(clips(), 2, 24, rank=r, world=2) for r in (0, 1))
    next(iter(a)), next(iter(b))
    assert a.state_dict() == b.state_dict()
    with pytest.warns(UserWarning, match="not those of the checkpoint"):
        ClipLoader(clips(seed=1), 4, 24).load_state_dict(a.state_dict())
    smaller = ClipLoader(clips(), 2, 24)
    with pytest.warns(UserWarning, match="global batch was 4 and is 2"):
        smaller.load_state_dict(a.state_dict())
    assert next(iter(smaller))["slot"].tolist() == [4, 5]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_start_methods(make, tmp_path, method):
    for n in range(3):
        make.video(tmp_path / f"{n}.mp4", frames=12)
    index = build_index(tmp_path)  # decord has been used in this process before the fork
    dataset = ClipDataset(index.root, index.entries, 4, 16)
    loader = ClipLoader(dataset, 3, 6, num_workers=1, multiprocessing_context=method, timeout=600)
    assert_same(list(loader), list(ClipLoader(dataset, 3, 6)))
    loader.close()


@pytest.fixture
def damaged(make, tmp_path):
    """Eleven good videos, and one that opens but has a hole that most clips hit."""
    for n in range(11):
        make.video(tmp_path / f"{n:02d}.mp4", frames=40)
    make.damage(make.noise(tmp_path / "hole.mp4"))
    index = build_index(tmp_path)
    assert len(index.entries) == 12 and not index.bad
    return index


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_clips_are_replaced_counted_and_said_once(damaged, workers, tmp_path):
    dataset = ClipDataset(damaged.root, damaged.entries, 16, 16)
    bad = BadFiles(len(dataset), 0.1)
    loader = ClipLoader(dataset, 6, 24, bad_files=bad, num_workers=workers)
    with pytest.warns(UserWarning, match="hole.mp4") as caught:
        batches = run(loader, 2)
    assert len([w for w in caught if "hole.mp4" in str(w.message)]) == 1
    assert torch.cat([b["slot"] for b in batches]).tolist() == list(range(48))
    (path, row), *others = bad.files.items()
    assert path.endswith("hole.mp4") and not others and 2 <= row["failures"] <= 8
    assert_same(batches, run(ClipLoader(dataset, 6, 24, bad_files=BadFiles(12, 1.0)), 2))  # keyed: the same again
    bad.write(tmp_path / "run")
    lines = (tmp_path / "run" / "bad_files.csv").read_text().splitlines()
    assert lines[0] == "path,found,failures,reason" and "hole.mp4,decode," in lines[1]
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:cannot read")
def test_too_many_bad_files_or_raise_stop_the_run(damaged, workers):
    dataset = ClipDataset(damaged.root, damaged.entries, 16, 16)
    loader = ClipLoader(dataset, 6, 24, bad_files=BadFiles(12, 0.05), num_workers=workers)
    with pytest.raises(RunError, match=r"1 of 12 files cannot be read(.|\n)*hole\.mp4"):
        list(loader)
    loader.close()
    strict = ClipDataset(damaged.root, damaged.entries, 16, 16, on_error="raise")
    loader = ClipLoader(strict, 6, 24, num_workers=workers)
    with pytest.raises(ReadError, match=r"^cannot read \S+hole.mp4: damaged") as caught:
        list(loader)
    assert "Traceback" not in str(caught.value)
    loader.close()


def test_bad_files_name_five():
    bad = BadFiles(20, 0.1)
    for n in range(7):
        bad.add(f"f{n}.mp4", "empty file", found="index")
    with pytest.raises(RunError) as caught:
        bad.check()
    assert "7 of 20" in str(caught.value) and "f4.mp4" in str(caught.value) and "and 2 more" in str(caught.value)
    assert "f5.mp4" not in str(caught.value)


class Hanging(ClipDataset):
    def __getitem__(self, key):
        if key[0] >= 4:
            time.sleep(3600)
        return super().__getitem__(key)


def test_timeout_names_the_files_awaited(clips, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)  # a worker that hangs is ended then
    loader = ClipLoader(clips(Hanging), 2, 24, num_workers=1, timeout=600)
    stream = iter(loader)
    next(stream), next(stream)
    loader.timeout = loader._iterator._timeout = 0.5  # only now, when the worker runs and will never answer
    expected = [loader.dataset.path(video) for _, video in loader.plan.requests(0, 2)]
    with pytest.raises(RunError, match="no batch within 0.5 s") as caught:
        next(stream)
    assert all(str(path) in str(caught.value) for path in expected)
    loader.close()


def test_pass_is_the_same_every_time(clips):
    dataset = clips(random_start=False)
    requests = [(i, i) for i in range(12)]
    loader = ClipPass(dataset, requests, 5)
    assert [len(b["slot"]) for b in loader] == [5, 5, 2] and len(loader) == 3
    assert_same(list(loader), list(ClipPass(dataset, requests, 5, num_workers=2)))
    assert all((b["start"] == 6).all() for b in loader)


def test_the_callers_random_state_is_left_alone(clips):
    before = torch.get_rng_state()
    list(ClipLoader(clips(), 4, 8))
    with_worker = ClipLoader(clips(), 4, 8, num_workers=1)
    list(with_worker)
    with_worker.close()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "options", [dict(channels=2), dict(fit="pad"), dict(on_error="ignore"), dict(resolution=0), dict(num_frames=0)]
)
def test_bad_options_are_refused(clips, options):
    with pytest.raises(UsageError):
        clips(**options)
