"""Definitions against their schema, and runs that are continued, run anew or left alone."""

from __future__ import annotations

import json

import pytest
import yaml
from reports import write

from vidiff.bench import definition
from vidiff.bench.definition import Benchmark, list_runs, load, run_missing
from vidiff.errors import RunError, UsageError
from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config
from vidiff.training.run import config_hash


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
    """Translation is measured by other numbers and has a table of its own."""
    names = {f"ablations/{p.stem}" for p in (experiments_dir() / "ablations").glob("*.yaml")}
    translations = {name for name in names if name.startswith("ablations/cyclegan_")}
    for file, wanted in (("ablations", names - translations), ("ablations_translation", translations)):
        benchmark = load(experiments_dir() / "benchmarks" / f"{file}.yaml")
        assert set(benchmark.runs) == wanted and len(benchmark.runs) == len(wanted)
        assert benchmark.base == benchmark.runs[0]  # without any part


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((experiments_dir() / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_row_resolves(path, tmp_path):
    """Each is accepted by `fit`, has the common settings, and is another configuration than the rest."""
    benchmark = load(path)
    texts = [resolved_config(run.arguments) for run in list_runs(benchmark, tmp_path, tmp_path, [])]
    assert len(set(texts)) == len(texts) == len(benchmark.runs)
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
        ("runs: [dcgan]\nown:\n  wgan: {model: {init_args: {width: 8}}}", "own: wgan is not among its runs: dcgan"),
    ],
)
def test_definition_errors(tmp_path, text, match):
    path = tmp_path / "definition.yaml"
    if text:
        path.write_text(text)
    with pytest.raises(UsageError, match=match):
        load(path)


def test_a_failed_run_is_named_and_the_others_finish(tmp_path, monkeypatch):
    """Finished runs are left alone; one that cannot start is reported with its log."""
    write(tmp_path / "dcgan-seed0", config_hash=config_hash("settings"))
    benchmark = load(experiments_dir() / "benchmarks" / "games.yaml")
    benchmark.runs = ["dcgan", "ablations/no_such_part"]
    monkeypatch.setattr(definition, "resolved_config", lambda arguments: "settings")
    with pytest.raises(RunError, match="ablations/no_such_part-seed0.log"):
        run_missing(benchmark, tmp_path, [], jobs=1)
    said = (tmp_path / "ablations" / "no_such_part-seed0.log").read_text()
    assert "experiments/ablations/no_such_part.yaml: no such file" in said


@pytest.fixture
def started(monkeypatch):
    """Names of the runs that are started; none is."""
    names = []
    monkeypatch.setattr(definition, "_train", lambda run: names.append(run.name))
    return names


def test_a_report_counts_for_its_configuration_only(tmp_path, started, capsys, monkeypatch):
    """What was changed in a YAML since is run anew, beside the old run; what is of no known configuration is named."""
    for name in ("same", "changed", "old"):
        write(tmp_path / f"{name}-seed0", config_hash=config_hash("as it is now"))
    report = json.loads((tmp_path / "old-seed0" / "report.json").read_text())
    del report["config_hash"]
    (tmp_path / "old-seed0" / "report.json").write_text(json.dumps(report))
    for name, text in (("interrupted", "as it is now"), ("abandoned", "as it was")):
        (tmp_path / f"{name}-seed0").mkdir()
        (tmp_path / f"{name}-seed0" / "config.yaml").write_text(text)

    def resolved(arguments):
        return "other" if "experiments/changed.yaml" in arguments else "as it is now"

    benchmark = Benchmark(["same", "changed", "old", "interrupted", "abandoned", "new"])
    monkeypatch.setattr(definition, "resolved_config", resolved)
    run_missing(benchmark, tmp_path, [], jobs=1)
    assert started == ["changed-seed0", "interrupted-seed0", "abandoned-seed0", "new-seed0"]
    assert (tmp_path / "changed-seed0.before-1" / "report.json").exists() and not (tmp_path / "changed-seed0").exists()
    assert (tmp_path / "abandoned-seed0.before-1" / "config.yaml").exists()
    assert (tmp_path / "interrupted-seed0" / "config.yaml").exists()
    said = capsys.readouterr().err
    assert "changed-seed0: its configuration has changed" in said and "same-seed0" not in said
    assert f"old-seed0: {tmp_path / 'old-seed0' / 'report.json'} is of an older version" in said


def test_own_settings_reach_their_experiment_alone(tmp_path, started, monkeypatch):
    """They are laid over what all have in common: the width stays, the rate is the experiment's own."""
    overlay = {"model": {"init_args": {"width": 4, "optimizer_g": {"lr": 1e-3}}}}
    own = {"wgan": {"model": {"init_args": {"optimizer_g": {"lr": 3e-3}}}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"runs": ["dcgan", "wgan"], "overlay": overlay, "own": own}))
    texts = []
    for name in ("dcgan", "wgan"):
        write(tmp_path / f"{name}-seed0")

    def resolved(arguments):
        texts.append(resolved_config(arguments))
        return texts[-1]

    monkeypatch.setattr(definition, "resolved_config", resolved)
    run_missing(load(tmp_path / "two.yaml"), tmp_path, [], jobs=1)
    for text, rate in zip(texts, (1e-3, 3e-3), strict=True):
        model = yaml.safe_load(text)["model"]["init_args"]
        assert model["width"] == 4 and model["optimizer_g"]["init_args"]["lr"] == rate


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
