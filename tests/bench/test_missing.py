"""Runs that are continued, run anew or left alone: by what they were made of, never by a file's existence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from helpers import child_environment
from reports import write

from vidiff.bench import launch, missing
from vidiff.bench.definition import Benchmark, list_runs, load
from vidiff.bench.missing import Finished, run_missing
from vidiff.bench.rows import read_rows
from vidiff.bench.table import tables
from vidiff.errors import UsageError
from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config
from vidiff.training.run import config_hash


@pytest.fixture
def started(monkeypatch):
    """Names of the runs that are started; each only writes its report. The data are always the same."""
    names = []

    def train(run):
        names.append(run.name)
        if "broken" in run.name:
            return 1
        shutil.rmtree(run.folder, ignore_errors=True)
        write(run.folder)
        return 0

    monkeypatch.setattr(launch, "train", train)
    monkeypatch.setattr(missing, "data_fingerprint", lambda section: "videos")
    return names


def test_a_report_counts_for_its_configuration_only(tmp_path, started, capsys, monkeypatch):
    """What was changed in a YAML since is run anew, beside the old run; what is of no known configuration is named."""
    now = "data: {init_args: {}}\n"
    for name in ("same", "changed", "old"):
        write(tmp_path / f"{name}-seed0", config_hash=config_hash(now))
    report = json.loads((tmp_path / "old-seed0" / "report.json").read_text())
    del report["config_hash"]
    (tmp_path / "old-seed0" / "report.json").write_text(json.dumps(report))
    for name, text in (("interrupted", now), ("abandoned", "as it was")):
        (tmp_path / f"{name}-seed0").mkdir()
        (tmp_path / f"{name}-seed0" / "config.yaml").write_text(text)

    def resolved(arguments):
        return "data: {init_args: {x: 1}}" if "experiments/changed.yaml" in arguments else now

    benchmark = Benchmark(["same", "changed", "old", "interrupted", "abandoned", "new"])
    monkeypatch.setattr(missing, "resolved_config", resolved)
    done = run_missing(benchmark, tmp_path)
    assert started == ["changed-seed0", "interrupted-seed0", "abandoned-seed0", "new-seed0"]
    assert [run.experiment for run in done.finished] == benchmark.runs and not done.failed
    assert (tmp_path / "changed-seed0.before-1" / "report.json").exists()
    assert (tmp_path / "abandoned-seed0.before-1" / "config.yaml").exists()
    said = capsys.readouterr().err
    assert "changed-seed0: its configuration has changed" in said and "same-seed0" not in said
    assert f"old-seed0: {tmp_path / 'old-seed0' / 'report.json'} is of an older version" in said
    assert {row["run"] for row in read_rows([tmp_path])} == {f"{name}-seed0" for name in benchmark.runs}


def test_other_videos_make_another_run(tmp_path, started, capsys, monkeypatch):
    """Of equal settings, with a root whose files have changed."""
    text = "data: {init_args: {}}"
    monkeypatch.setattr(missing, "resolved_config", lambda arguments: text)
    for name, videos in (("same", "videos"), ("other", "videos of yesterday")):
        folder = write(tmp_path / f"{name}-seed0", config_hash=config_hash(text))
        report = json.loads((folder / "report.json").read_text()) | {"data": {"fingerprint": videos}}
        (folder / "report.json").write_text(json.dumps(report))
    run_missing(Benchmark(["same", "other"]), tmp_path)
    assert started == ["other-seed0"] and "other-seed0: the videos have changed" in capsys.readouterr().err


def test_rows_stand_for_runs_that_are_elsewhere(tmp_path, started, capsys, monkeypatch):
    """Two machines do a part each, into one file; what is there of the present configuration is not run again."""
    texts = {"a": "data: {init_args: {}}", "b": "data: {init_args: {x: 1}}"}

    def resolved(arguments):
        return next(text for name, text in texts.items() if f"experiments/{name}.yaml" in arguments)

    def train(run):
        started.append(run.name)
        write(run.folder, config_hash=config_hash(texts[run.experiment]))
        return 0

    monkeypatch.setattr(missing, "resolved_config", resolved)
    monkeypatch.setattr(launch, "train", train)
    both = Benchmark(["a", "b"], seeds=[0, 1])
    first = run_missing(both, tmp_path, only=["a"])
    assert [run.name for run in first.finished] == started == ["a-seed0", "a-seed1"]
    run_missing(both, tmp_path, only=["b"], seeds=[0])
    known = {row["run"] for row in read_rows([tmp_path / "results.jsonl"])}
    assert known == {"a-seed0", "a-seed1", "b-seed0"}
    for folder in tmp_path.glob("*-seed?"):
        shutil.rmtree(folder)
    started.clear()
    done = run_missing(both, tmp_path)
    assert started == ["b-seed1"] and len(done.finished) == 4
    assert {row["run"] for row in read_rows([tmp_path / "results.jsonl"])} == known | {"b-seed1"}
    started.clear()
    texts["a"] = "data: {init_args: {y: 1}}"  # what was changed since is run anew, what was taken out is dropped
    run_missing(Benchmark(["a", "b"]), tmp_path)
    assert started == ["a-seed0"] and "a-seed0: its configuration has changed since" in capsys.readouterr().err
    rows = read_rows([tmp_path / "results.jsonl"])
    assert {(r["run"], r["config_hash"]) for r in rows} == {(f"{n}-seed0", config_hash(texts[n])) for n in "ab"}


def test_a_failed_run_is_named_and_stops_nothing(tmp_path, started, capsys, monkeypatch):
    monkeypatch.setattr(missing, "resolved_config", lambda arguments: "data: {init_args: {}}")
    done = run_missing(Benchmark(["broken", "fine"]), tmp_path)
    assert [r.name for r in done.failed] == ["broken-seed0"] and [r.name for r in done.finished] == ["fine-seed0"]
    said = capsys.readouterr().err
    assert "broken-seed0: FAILED" in said and str(done.failed[0].log) in said
    assert {row["run"] for row in read_rows([tmp_path / "results.jsonl"])} == {"fine-seed0"}


def test_an_experiment_that_does_not_exist_fails_by_itself(tmp_path):
    """A real process: what it said is in its log."""
    done = run_missing(Benchmark(["ablations/no_such_part"]), tmp_path)
    said = done.failed[0].log.read_text()
    assert "experiments/ablations/no_such_part.yaml: no such file" in said and not done.finished


def test_own_settings_reach_their_experiment_alone(tmp_path):
    """They are laid over what all have in common: the width stays, the rate is the experiment's own."""
    overlay = {"model": {"init_args": {"width": 4, "optimizer_g": {"lr": 1e-3}}}}
    own = {"wgan": {"model": {"init_args": {"optimizer_g": {"lr": 3e-3}}}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"runs": ["dcgan", "wgan"], "overlay": overlay, "own": own}))
    runs = list_runs(load(tmp_path / "two.yaml"), tmp_path, tmp_path, [])
    for run, rate in zip(runs, (1e-3, 3e-3), strict=True):
        model = yaml.safe_load(resolved_config(run.arguments))["model"]["init_args"]
        assert model["width"] == 4 and model["optimizer_g"]["init_args"]["lr"] == rate


def test_the_fingerprint_is_that_of_the_report(shapes, tmp_path):
    """The data as a configuration names them, built without any model."""
    sizes = ["--data.num_frames", "4", "--data.resolution", "16"]
    words = ["fit", "--config", "experiments/dcgan.yaml", "--data.root", str(shapes), *sizes]
    section = yaml.safe_load(resolved_config(words))["data"]
    from vidiff.data.datamodule import ClipDataModule

    module = ClipDataModule(root=str(shapes), num_frames=4, resolution=16)
    module.setup("fit")
    assert missing.data_fingerprint(section) == module.fingerprint
    with pytest.raises(UsageError):
        missing.data_fingerprint({**section, "init_args": {**section["init_args"], "root": str(tmp_path / "none")}})


TINY = """
runs: [dcgan, lsgan]
seeds: [0]
budget: {clips: 16}
overlay:
  trainer: {max_steps: 1000, accelerator: cpu}
  data: {init_args: {num_frames: 4, resolution: 16, batch_size: 4, num_workers: 0, cache: none}}
  model: {init_args: {width: 4}}
  evaluation: {every_n_steps: 2, num_clips: 8, metrics: "fvd_random,motion"}
  checkpoints: {every_n_steps: 1}
"""


def quality(folder):
    """What a table says of quality; what a run took is another every time."""
    return tables(read_rows([folder]))[0].rows


@pytest.mark.slow
def test_killed_and_started_again_the_table_is_the_same(shapes, tmp_path):
    """Killed at once, with all that it started; then one setting changes, and only what it affects runs again."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    words = [sys.executable, "-m", "vidiff", "bench", "run", str(path), "--data.root", str(shapes), "--jobs", "1"]

    def bench(out):
        command = [*words, "--output", str(tmp_path / out)]
        return subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE)

    whole = bench("whole")
    assert whole.wait() == 0, whole.stderr.read()
    broken = bench("broken")
    while not (tmp_path / "broken" / "dcgan-seed0" / "checkpoints" / "last.ckpt").exists():
        assert broken.poll() is None
        time.sleep(0.05)
    os.kill(broken.pid, signal.SIGKILL)
    broken.wait()
    assert not (tmp_path / "broken" / "lsgan-seed0" / "report.json").exists()
    again = bench("broken")
    assert again.wait() == 0
    assert quality(tmp_path / "broken") == quality(tmp_path / "whole")
    path.write_text(TINY + "own:\n  lsgan: {model: {init_args: {width: 8}}}\n")
    changed = bench("broken")
    assert changed.wait() == 0
    said = changed.stderr.read().decode()
    assert "2 runs, 1 to train" in said and "lsgan-seed0: its configuration has changed" in said
    assert (tmp_path / "broken" / "lsgan-seed0.before-1").exists()
    assert not (tmp_path / "broken" / "dcgan-seed0.before-1").exists()


def test_shipped_definitions_have_no_two_equal_runs(tmp_path):
    for path in sorted((experiments_dir() / "benchmarks").glob("*.yaml")):
        names = [run.name for run in list_runs(load(path), tmp_path, tmp_path, [])]
        assert len(set(names)) == len(names)


def test_finished_says_no_where_nothing_is(tmp_path):
    run = list_runs(Benchmark(["dcgan"]), tmp_path, tmp_path, [])[0]
    assert not Finished()(run)
