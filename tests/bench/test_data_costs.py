"""`bench data`: every figure is there and plausible, and the references do the work that they stand for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vidiff.bench import data_costs as bench
from vidiff.command_line import call
from vidiff.commands import bench as command
from vidiff.errors import UsageError
from vidiff.video import write as media


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for n in range(3):
        coarse = rng.integers(0, 256, (24, 6, 8, 3), dtype=np.uint8)
        media.write_mp4(folder / f"{n}.mp4", coarse.repeat(8, 1).repeat(8, 2))
    return folder


def run(*argv):
    return call([command.data], "vidiff bench data", [str(a) for a in argv])


def test_every_figure_is_measured_and_printed(root, capsys):
    sizes = ("--num_frames", 8, "--resolution", 32, "--batch_size", 4, "--width", 4, "--seconds", 0)
    before = torch.get_rng_state()
    assert run("--data.root", root, *sizes, "--json") == 0
    assert torch.equal(before, torch.get_rng_state())
    result = json.loads(capsys.readouterr().out)
    ways = result["readers"]["ways"]
    assert len(ways) == 7 and all(row["cpu_ms_per_clip"] > 0 and row["clips_per_s"] > 0 for row in ways.values())
    # How many times: a matter of the machine.
    assert all(ways[name]["times_pyav"] > 0 for name in ("disk cache", "ram cache"))
    cpu = result["augment"]["cpu"]
    assert cpu["dcgan_step_ms"] > 0 and set(cpu["presets"]) == {"none", "light", "standard", "strong"}
    for row in cpu["operators"].values():
        assert row["times_reference"] == pytest.approx(row["ms"] / row["reference_ms"])
        assert row["of_step"] == pytest.approx(row["ms"] / cpu["dcgan_step_ms"])
    text = bench.report(result)
    for word in (
        "pyav, resized while decoding",
        "decord, first epoch",
        "disk cache",
        "color",
        "standard",
        "of a step",
    ):
        assert word in text


def test_what_cannot_be_compared_is_refused(root, tmp_path):
    with pytest.raises(UsageError, match="no video of 100 frames"):
        bench.readers(root, 100, 32, 0)
    media.write_png(tmp_path / "strip.png", np.zeros((8, 80, 3), np.uint8))
    with pytest.raises(UsageError, match="strips"):
        bench.readers(tmp_path, 4, 8, 0)


def test_all_ways_read_the_same_clip(root):
    from vidiff.data.dataset import ClipDataset
    from vidiff.data.index import build_index

    index = build_index(root)
    plain = ClipDataset(index.root, index.entries, 8, 32)
    for n in range(3):
        full = bench._full_size(plain, n, n)
        ours = plain[(n, n)]["clip"]
        assert full.shape == ours.shape and (full.float() - ours.float()).abs().mean() < 12


def test_references_do_what_the_operators_do():
    x = torch.rand(4, 3, 6, 16, 16, generator=torch.Generator().manual_seed(1))
    zero = torch.zeros(4, 4)
    assert torch.allclose(bench._color(x, 1 + zero[:, :3], zero[:, 0]), x, atol=1e-4)
    grey = bench._color(x, torch.tensor([[1.0, 1.0, 0.0]]).expand(4, 3), zero[:, 0])
    luma = (x * torch.tensor(bench.LUMA).view(1, 3, 1, 1, 1)).sum(1, keepdim=True)
    assert torch.allclose(grey, luma.expand_as(x), atol=1e-3)
    assert torch.allclose(bench._warp_time(x, zero), x, atol=1e-4)
    flat = torch.full_like(x, 0.3)
    assert torch.allclose(bench._blur(flat, zero), flat, atol=1e-6) and bench._blur(x, zero).std() < x.std()
    assert torch.equal(bench._splice(x, zero - 1), x.roll(1, 0)) and torch.equal(bench._splice(x, zero + 1), x)
    for name, op, reference in bench.references(4, torch.device("cpu")):
        out = reference(x)
        assert out.shape == x.shape and torch.isfinite(out).all() and op.p == 1.0, name
