"""Definitions against their schema, and the runs that they ask for."""

from __future__ import annotations

import pytest
import yaml

from vidiff.bench.definition import Benchmark, chosen, list_runs, load
from vidiff.errors import UsageError
from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config


@pytest.mark.parametrize("path", sorted((experiments_dir() / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_definitions(path):
    benchmark = load(path)
    for name in benchmark.runs:
        for file in benchmark.experiments(name):
            assert (experiments_dir().parent / file).is_file()
    base = yaml.safe_load((experiments_dir() / "_base.yaml").read_text())
    for settings in (benchmark.overlay, *benchmark.own.values()):
        assert set(settings) <= {*base, "data", "model", "budget_cpu_s"}


def test_every_ablation_has_its_row():
    """Translation is measured by other numbers and has a table of its own, as have the controls of one family."""
    names = {f"ablations/{p.stem}" for p in (experiments_dir() / "ablations").glob("*.yaml")}
    translations = {name for name in names if name.startswith("ablations/cyclegan_")}
    projected = {name for name in names if name.startswith("ablations/projected_")}
    penalty = {name for name in names if name.startswith("ablations/r3gan_")}
    tables = {"ablations": names - translations - projected - penalty, "ablations_translation": translations}
    families = {"ablations_projected": projected | {"projected"}, "ablations_penalty": penalty | {"r3gan"}}
    for file, wanted in (tables | families).items():
        benchmark = load(experiments_dir() / "benchmarks" / f"{file}.yaml")
        assert set(benchmark.runs) == wanted and len(benchmark.runs) == len(wanted)
        assert benchmark.base == benchmark.runs[0]  # without any part


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((experiments_dir() / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_row_resolves(path, tmp_path):
    """Each is accepted by `fit`, has the common settings, and is another configuration than the rest."""
    benchmark = load(path)
    texts = [resolved_config(run.arguments) for run in list_runs(benchmark, tmp_path, tmp_path, [])]
    assert len(set(texts)) == len(texts) == len(benchmark.runs) * len(benchmark.seeds)
    for text in texts:
        assert f"accelerator: {benchmark.overlay['trainer']['accelerator']}" in text


def test_a_base_lies_under_the_other_runs():
    """Without one an experiment is complete; the base itself is run as it is."""
    benchmark = Benchmark(["plain", "part"], base="plain")
    assert benchmark.experiments("plain") == ["experiments/plain.yaml"]
    assert benchmark.experiments("part") == ["experiments/plain.yaml", "experiments/part.yaml"]
    assert Benchmark(["part"]).experiments("part") == ["experiments/part.yaml"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "no such benchmark"),
        ("rnus: [dcgan]", "accepted keys"),
        ("runs: [dcgan]\nbudget: {minutes: 3}", "budget: one of clips, cpu_seconds, gpu_seconds, got minutes"),
        ("runs: [dcgan]\nbudget: {clips: 3, cpu_seconds: 3}", "budget: one of"),
        ("runs: [dcgan]\nown:\n  wgan: {model: {init_args: {width: 8}}}", "own: wgan is not among its runs: dcgan"),
    ],
)
def test_definition_errors(tmp_path, text, match):
    path = tmp_path / "definition.yaml"
    if text:
        path.write_text(text)
    with pytest.raises(UsageError, match=match):
        load(path)


def test_seeds_come_first_and_sets_are_folders(tmp_path):
    """Seed by seed: what there is when time runs out is a whole comparison. A set's settings reach its runs alone."""
    sets = {"small": {"data": {"init_args": {"resolution": 16}}}, "large": {}}
    benchmark = Benchmark(["dcgan", "wgan"], seeds=[0, 1], data_sets=sets, budget={"clips": 40})
    runs = list_runs(benchmark, tmp_path, tmp_path, ["--x"])
    names = [f"{d}/{n}-seed{s}" for s in (0, 1) for d in ("small", "large") for n in ("dcgan", "wgan")]
    assert [run.name for run in runs] == names
    assert (runs[3].experiment, runs[3].data_set, runs[3].seed) == ("wgan", "large", 0)
    assert all("--budget_clips 40" in " ".join(run.arguments) and run.arguments[-1] == "--x" for run in runs)
    small = [str(tmp_path / "_data0.yaml") in run.arguments for run in runs]
    assert small == [True, True, False, False] * 2


def test_a_part_of_a_benchmark(tmp_path):
    runs = list_runs(Benchmark(["dcgan", "wgan"], seeds=[0, 1]), tmp_path, tmp_path, [])
    assert [run.name for run in chosen(runs, only=["dcgan"], seeds=[1])] == ["dcgan-seed1"] and chosen(runs) == runs
    with pytest.raises(UsageError, match="--only: unknown experiment 'dcgam'. Did you mean 'dcgan'"):
        chosen(runs, only=["dcgam"])


def test_the_resolved_configuration_is_what_fit_writes(tmp_path):
    """It follows a setting in a file, not the place of the file or of the run."""
    files = {name: tmp_path / f"{name}.yaml" for name in ("a", "b", "c")}
    for name, width in (("a", 4), ("b", 4), ("c", 8)):
        files[name].write_text(yaml.safe_dump({"model": {"init_args": {"width": width}}}))
    texts = {
        name: resolved_config(["fit", "--config", "experiments/dcgan.yaml", "--config", str(path), "--run_dir", name])
        for name, path in files.items()
    }
    assert texts["a"] == texts["b"] != texts["c"]
    assert yaml.safe_load(texts["c"])["model"]["init_args"]["width"] == 8
