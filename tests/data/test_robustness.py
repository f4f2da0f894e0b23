"""Hundreds of reads of mixed and broken files through real workers: nothing hangs, nothing changes, memory stays."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from vidiff.data.cache import DiskCache
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import build_index
from vidiff.data.loader import BadFiles, ClipLoader

READS, BATCH = 500, 5


@pytest.fixture(scope="module")
def mixed(make, tmp_path_factory):
    """Every kind of source, and one file with a hole in the middle; what cannot be used at all is sorted out before."""
    root = tmp_path_factory.mktemp("mixed")
    for n in range(3):
        make.video(root / f"h264-{n}.mp4", frames=30 + n)
        make.video(root / f"mpeg4-{n}.avi", codec="mpeg4", frames=30)
        make.video(root / f"other-{n}.mkv", frames=30, size=(96, 64))
        make.strip(root / "strips" / f"{n}.png", frames=20, offset=n)
        make.frames(root / f"folder-{n}", frames=12)
    make.damage(make.noise(root / "hole.mp4"))
    make.broken(root / "broken")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = build_index(root)
    assert len(index.entries) == 16 and len(index.bad) == 6
    return index


def resident(pid: int) -> float:
    """Memory of a process in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def summary(batch):
    """The batch, with a figure in the place of its clips."""
    clips = batch["clip"].double()
    weights = torch.arange(1, clips[0].numel() + 1, dtype=torch.float64).view_as(clips[0])
    return {k: v for k, v in batch.items() if k != "clip"} | {"sum": (clips * weights).sum((1, 2, 3, 4))}


def loaded(index, workers, method, cache=None):
    dataset = ClipDataset(index.root, index.entries, 8, 32, cache=cache)
    bad = BadFiles(len(dataset), 0.1)
    options = dict(num_workers=workers, timeout=0, multiprocessing_context=method)
    return ClipLoader(dataset, BATCH, READS, bad_files=bad, **options)


@pytest.mark.filterwarnings("ignore:cannot read")
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cached", [False, True])
def test_500_mixed_reads(mixed, tmp_path, method, cached):
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    loader = loaded(mixed, 2, method, DiskCache(10**9, tmp_path) if cached else None)
    seen, memory = [], []
    for number, batch in enumerate(loader):
        seen.append(summary(batch))
        if number in (29, 99):
            memory.append([resident(worker.pid) for worker in loader._iterator._workers])
    loader.close()
    assert torch.cat([b["slot"] for b in seen]).tolist() == list(range(READS))
    assert all(after - before < 60 for before, after in zip(*memory)), memory
    assert [Path(p).name for p in loader.bad_files.files] == ["hole.mp4"]
    for a, b in zip(seen, map(summary, loaded(mixed, 0, None)), strict=True):
        different = [k for k in a if not torch.equal(a[k], b[k])]
        assert not different, (different, a, b)
