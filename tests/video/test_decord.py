"""decord is used for the files on which it was proven exact, and an error of it is never answered by other pixels."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vidiff.data.cache import DiskCache
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import build_index
from vidiff.data.loader import ClipLoader
from vidiff.video.decord import NARROW, DecordReader, fault
from vidiff.video.open import choose_decoder
from vidiff.video.pyav import PyAVReader
from vidiff.video.reader import ReadError

B = {"options": {"bf": "2"}}


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_where_decord_is_exact(make, tmp_path, name):
    path = make.video(tmp_path / name, 30, gop=12, **B)
    assert fault(path) is None
    assert [choose_decoder(path, "video", b) for b in ("pyav", "auto", "decord")] == ["pyav", "decord", "decord"]
    assert DecordReader(path).info == PyAVReader(path).info
    assert [make.number_of(f) for f in DecordReader(path).read([29, 3, 17, 17])] == [29, 3, 17, 17]


@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("b.ts", "libx264", B),
        ("b.avi", "libx264", B),
        ("a.wmv", "wmv2", {}),
        ("a.gif", "gif", {}),
        ("live.webm", "libvpx", {"container_options": {"live": "1"}}),
        ("narrow.mp4", "libx264", {"size": (48, 64)}),
        ("wide.mp4", "libx264", {"aspect": Fraction(2, 1)}),
    ],
)
def test_where_it_is_not(make, tmp_path, name, codec, more):
    path = make.video(tmp_path / name, 30, codec, gop=12, **more)
    assert fault(path)
    assert choose_decoder(path, "video", "auto") == "pyav"
    with pytest.raises(ReadError, match=rf"{name}: .*; backend pyav reads it"):
        choose_decoder(path, "video", "decord")


def test_hidden_frames_damage_and_names(make, tmp_path):
    make.video(tmp_path / "whole.mp4", 40, gop=40)
    with av.open(str(tmp_path / "whole.mp4")) as reader, av.open(str(tmp_path / "cut.mp4"), "w") as writer:
        out = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                shift = round(Fraction(3, 2) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, out
                writer.mux(packet)
    assert "hidden" in fault(tmp_path / "cut.mp4")
    assert fault(make.damage(make.noise(tmp_path / "hole.mp4")))
    latin = make.video(tmp_path / "a.mp4").rename(tmp_path / os.fsdecode(b"gr\xfcn.mp4"))
    assert "not UTF-8" in fault(latin)


def test_every_width(make, tmp_path):
    path = make.video(tmp_path / "a.mp4", 4)
    for width in sorted({*NARROW, 17, 32, 60, 100} - {2, 3, 4, 6}):
        size = (max(2, width * 3 // 4), width)
        difference = np.abs(DecordReader(path).read([0, 3], *size).astype(int) - PyAVReader(path).read([0, 3], *size))
        assert difference.mean() < 3, width


def test_an_error_is_an_error_of_the_file(make, tmp_path, monkeypatch):
    path = make.damage(make.noise(tmp_path / "hole.mp4"))
    monkeypatch.setattr(PyAVReader, "read", None)
    with pytest.raises(ReadError, match="hole.mp4: decord fails on it"):
        DecordReader(path).read(range(10, 30))
    with pytest.raises(ReadError, match="only 40"):
        DecordReader(path).read([40])


@pytest.mark.parametrize("backend", ["pyav", "auto"])
def test_the_same_pixels_in_workers_and_main_process_with_and_without_cache(make, tmp_path, backend):
    for name in ("0.mp4", "1.ts", "2.mkv", "3.gif"):
        make.video(tmp_path / "set" / name, 24, "gif" if name.endswith("gif") else "libx264", gop=12)
    index = build_index(tmp_path / "set", backend)
    exact = {"pyav": ["pyav"] * 4, "auto": ["decord", "pyav", "decord", "pyav"]}[backend]
    assert [e.decoder for e in index.entries] == exact and not index.bad

    def clips(workers, cache):
        dataset = ClipDataset(index.root, index.entries, 4, 16, cache=cache and DiskCache(10**9, tmp_path / "frames"))
        loader = ClipLoader(dataset, 4, 24, num_workers=workers)
        batches = list(loader)
        loader.close()
        return torch.cat([b["clip"] for b in batches]), torch.cat([b["slot"] for b in batches])

    first, slots = clips(0, False)
    assert slots.tolist() == list(range(24))
    for workers, cache in ((2, False), (0, True), (2, True)):
        assert all(torch.equal(a, b) for a, b in zip(clips(workers, cache), (first, slots)))
