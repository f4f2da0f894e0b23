"""`bench step`: shares that add up, medians of the laps, tables that show what the JSON holds."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from torch import nn

from vidiff.bench import step_costs
from vidiff.bench.step_clock import PARTS, Clock, CountFlops, Lap, memory_mb, roof
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.paths import experiments_dir

SMALL = "--fit --data.batch_size 2 --data.num_frames 4 --data.resolution 16 --model.width 4".split()


def test_time_is_the_innermost_parts():
    seconds = itertools.count()  # every look at the clock is a second later
    clock = Clock(lambda: float(next(seconds)))
    inner = clock.timed(lambda: clock.part, "EMA")
    outer = clock.timed(lambda player: inner(), lambda player: player)
    assert outer("G") == "EMA" and clock.part == "Lightning"
    lap = clock.lap()
    assert lap == {"Lightning": 2.0, "G": 2.0, "EMA": 1.0, "D": 0.0, "data": 0.0, "logging": 0.0}
    assert clock.lap() == dict.fromkeys(PARTS, 0.0) | {"Lightning": 1.0}


def test_flops_by_hand():
    conv = nn.Conv3d(3, 8, (1, 3, 3), bias=False)
    x = torch.randn(2, 3, 4, 10, 10, requires_grad=True)
    with CountFlops() as counter:
        out = conv(x)
        forward = counter.total
        out.sum().backward()
    assert forward == 2 * (2 * 8 * 4 * 8 * 8) * 3 * 9
    assert counter.total == 3 * forward  # the gradients of clips and of weights


def test_rows_are_medians_and_shares_of_all_steps():
    clips, cpu = [4.0, 4.0, 4.0], [1.0, 2.0, 6.0]
    laps = [
        Lap(dict.fromkeys(PARTS, s / 6) | {"D": s / 6 + 0.5, "G": s / 6 - 0.5}, 2 * s, c) for s, c in zip(cpu, clips)
    ]
    model = nn.Module()
    model.players = {"g": nn.Linear(2, 3), "d": nn.Linear(2, 1)}
    entrant = step_costs.Entrant("x", model, None, {"batch_size": 4}, laps, gflop=10.0)
    row = step_costs.row(entrant, roof=50.0)
    expected = {"cpu_s": 2, "cpu_s_low": 1, "cpu_s_high": 6, "wall_s": 4, "steps": 3, "clips_per_s": 1}
    expected |= {"gflop_per_s": 5, "of_roof": 0.1}
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["parameters"] == {"G": 9, "D": 3}
    assert sum(row["shares"].values()) == pytest.approx(1) and row["shares"]["D"] == pytest.approx(1 / 6 + 1.5 / 9)


def test_the_tables_are_the_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    names = ["dcgan", "stargan"]
    files = [f"experiments/{n}.yaml" for n in names]
    assert main(["bench", "step", *files, "--rounds", "2", "--steps", "2", "--json", "o.json", *SMALL]) == 0
    assert torch.equal(before, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert [p.name for p in tmp_path.iterdir()] == ["o.json"]
    result = json.loads((tmp_path / "o.json").read_text())
    assert capsys.readouterr().out.strip() == step_costs.report(result)
    assert [r["experiment"] for r in result["rows"]] == names
    for r in result["rows"]:
        assert r["steps"] == 4 and r["batch_size"] == 2 and r["cpu_s_low"] <= r["cpu_s"] <= r["cpu_s_high"]
        assert sum(r["shares"].values()) == pytest.approx(1) and set(r["shares"]) == set(PARTS)
        assert all(r["shares"][part] > 0 for part in PARTS) and r["shares"]["D"] + r["shares"]["G"] > 0.4
        assert r["gflop"] > 0 and r["of_roof"] == pytest.approx(
            r["gflop_per_s"] / max(result["roof_gflop_per_s"].values())
        )
        assert (r["peak_memory_mb"] is None) == (memory_mb("VmHWM") is None)
    for _, rows in step_costs.tables(result):
        assert len(rows) == 3 and all(len(row) == len(rows[0]) <= 7 for row in rows)


def test_real_clips_take_time_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vidiff.data.datamodule.EMBEDDED_VIDEOS", 8)
    result = step_costs.measure(["experiments/dcgan.yaml"], 1, 2, real=True, fit=SMALL[1:])
    ready = step_costs.measure(["experiments/dcgan.yaml"], 1, 2, fit=SMALL[1:])
    (row,), (other,) = result["rows"], ready["rows"]
    assert result["real"] and row["shares"]["data"] > other["shares"]["data"]
    assert row["gflop"] == pytest.approx(other["gflop"]) and row["parameters"] == other["parameters"]


def test_the_published_experiments_are_measured_where_none_is_named(monkeypatch):
    """At most two clips a batch: theirs are for a GPU."""
    seen = []
    monkeypatch.setattr(step_costs, "entrant", lambda *args: seen.append(args) or pytest.fail("enough", pytrace=False))
    with pytest.raises(pytest.fail.Exception):
        step_costs.measure()
    (name, _, real, most) = seen[0]
    assert name.parent == experiments_dir() / "peers" and not real and most == 2
    assert {p.stem for p in step_costs.published()} >= {"mocogan", "cyclegan2d", "stargan2d"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere.yaml"], "nowhere.yaml: no such experiment"),
        (["experiments/dcgan.yaml", "--rounds", "0"], "rounds must be at least 1, got 0"),
        (["experiments/dcgan.yaml", "--fit", "--model.nonsense", "3"], "nonsense"),
    ],
)
def test_wrong_requests_end_with_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "step", *words]) == 2
    out = capsys.readouterr()
    assert message in out.err and len(out.err.strip().splitlines()) == 1 and not out.out
    assert not list(tmp_path.iterdir())


def test_the_roof_is_a_speed():
    with pytest.raises(UsageError):
        step_costs.measure(["experiments/dcgan.yaml"], steps=0)
    assert set(found := roof(1)) == {"matmul", "convolution"} and all(value > 0 for value in found.values())
