"""Definitions against their schema, runs that are continued, tables that refuse to mix protocols."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from vidiff.bench.definition import Benchmark, list_runs, load, run_missing
from vidiff.bench.table import markdown, read_reports
from vidiff.commands.fit import resolved_config
from vidiff.errors import RunError, UsageError
from vidiff.paths import experiments_dir
from vidiff.training.run import config_hash

REPORT = {
    "metrics": {
        "fvd_random": {"value": 0.5, "floor": 0.01, "protocol": {"metric": "fvd_random", "n_fake": 256}},
        "motion": {"value": 1.1, "floor": 1.0, "protocol": {"metric": "motion", "n_fake": 256}},
    },
    "controls": {
        "untrained": {"fvd_random": 20.0, "motion": 0.1},
        "grey_noise": {"fvd_random": 30.0, "motion": 9.0},
        "mean_frame_frozen": {"fvd_random": 2.0, "motion": 0.0},
        "one_clip_repeated": {"fvd_random": 3.0, "motion": 1.0},
        "frames_frozen": {"fvd_random": 0.15, "motion": 0.0},
        "real_held_out": {"fvd_random": 0.3, "motion": 1.0},
    },
    "config_hash": "0123456789abcdef",
    "cpu_seconds": 100.0,
    "steps": 50,
    "clips_seen": 400,
    "parameters": {"g": 1000, "d": 900},
}


def write(folder, **changes):
    report = copy.deepcopy(REPORT)
    report["metrics"]["fvd_random"]["value"] = changes.get("value", 0.5)
    report["metrics"]["fvd_random"]["protocol"]["n_fake"] = changes.get("n_fake", 256)
    report["controls"]["untrained"]["fvd_random"] = changes.get("untrained", 20.0)
    report["config_hash"] = changes.get("config_hash", report["config_hash"])
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.mark.parametrize("path", sorted((experiments_dir() / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_definitions(path):
    benchmark = load(path)
    for name in benchmark.runs:
        for file in benchmark.experiments(name):
            assert (experiments_dir().parent / file).is_file()
    base = yaml.safe_load((experiments_dir() / "_base.yaml").read_text())
    for settings in (benchmark.overlay, *benchmark.own.values()):
        assert set(settings) <= {*base, "data", "model", "budget_cpu_s"}


def test_table_means_and_verdicts(tmp_path):
    folders = [write(tmp_path / "a-seed0", value=0.4), write(tmp_path / "a-seed1", value=0.6)]
    folders.append(write(tmp_path / "b-seed0", value=2.5))
    folders.append(write(tmp_path / "c-seed0", value=0.25, untrained=12.0))
    folders.append(write(tmp_path / "c-seed1", value=0.1, untrained=14.0))
    folders.append(write(tmp_path / "d-seed0", value=0.1))
    quality, cost = markdown(read_reports(folders)).split("\n\n")
    assert quality.splitlines()[0] == "|  | seeds | fvd_random | motion | untrained | ahead of | behind |"
    rows = {line.split(" | ")[0].strip("| "): line for line in quality.splitlines()}
    assert rows["a"] == "| a | 2 | 0.5 ± 0.14 | 1.1 | 20 | 4 of 6 | frames frozen, real held out |"
    assert rows["b"].endswith("| 3 of 6 | **mean frame frozen**, frames frozen, real held out |")
    assert "| 0.175 ± 0.11 | 1.1 | 13 ± 1.4 | 5 of 6 | frames frozen |" in rows["c"]  # the worst of its runs speaks
    assert rows["d"].endswith("| 20 | 6 of 6 | none |")
    assert rows["*frames frozen*"].startswith("| *frames frozen* |  | 0.15 | 0 |")
    assert "*untrained*" not in rows  # it is every run's own
    assert "| a | 100 | 50 | 400 | 4 | 1,000 / 900 |" in cost
    assert "| yes |" not in quality and "x |" not in quality


def test_a_tie_with_a_control_is_not_ahead_of_it(tmp_path):
    text = markdown(read_reports([write(tmp_path / "a-seed0", value=3.0)]))
    assert "| 2 of 6 | **mean frame frozen**, **one clip repeated**, frames frozen, real held out |" in text


def test_untrained_of_an_older_report_is_not_shown(tmp_path):
    """It was measured with BatchNorm's initial statistics, the generator with its own."""
    report = copy.deepcopy({k: v for k, v in REPORT.items() if k != "config_hash"})
    (tmp_path / "old-seed0").mkdir()
    (tmp_path / "old-seed0" / "report.json").write_text(json.dumps(report))
    text = markdown(read_reports([tmp_path / "old-seed0"]))
    assert "| 0.5 | 1.1 | n/a | 3 of 5 | frames frozen, real held out |" in text


def translation(folder, a2b, b2a, gain=1.5):
    report = copy.deepcopy({k: v for k, v in REPORT.items() if k != "controls"})  # those stand under each direction
    protocol = {"metric": "fvd_random", "n_fake": 64}
    values = {"a2b": a2b, "b2a": b2a}
    report["metrics"] = {f"fvd_random_{d}": {"value": v, "floor": 0.1, "protocol": protocol} for d, v in values.items()}
    controls = {"identity": {"fvd_random": 5.0}, "oracle": {"fvd_random": 0.2}}
    report["directions"] = {d: {"psnr_gain": gain, "ssim_gain": None, "controls": controls} for d in values}
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_table_of_translations(tmp_path):
    """Against the untouched source in every direction; generators do not mix with them."""
    folders = [translation(tmp_path / "a-seed0", 1.0, 2.0), translation(tmp_path / "b-seed0", 1.0, 6.0, gain=-2.0)]
    text = markdown(read_reports(folders))
    quality, cost = text.split("\n\n")
    rows = {line.split(" | ")[0].strip("| "): line for line in quality.splitlines()}
    assert "fvd_random_a2b | fvd_random_b2a | psnr_gain_a2b | psnr_gain_b2a | ahead of | behind |" in rows[""]
    assert "| 1 | 2 | 1.5 | 1.5 | 1 of 2 | oracle |" in rows["a"]
    assert "| 1 | 6 | -2 | -2 | 0 of 2 | **identity**, oracle |" in rows["b"]  # one direction is enough
    assert "| a | 100 | 50 |" in cost
    assert rows["*identity*"].startswith("| *identity* |  | 5 | 5 |") and "| 0.2 | 0.2 |" in rows["*oracle*"]
    with pytest.raises(UsageError, match="one kind"):
        markdown(read_reports([*folders, write(tmp_path / "c-seed0")]))


def test_other_protocols_are_refused(tmp_path):
    folders = [write(tmp_path / "a-seed0"), write(tmp_path / "b-seed0", n_fake=128)]
    with pytest.raises(UsageError, match="n_fake"):
        read_reports(folders)


def test_experiments_in_folders(tmp_path):
    """The folder is part of the name: `dcgan` and `ablations/dcgan` are two rows."""
    (tmp_path / "ablations").mkdir()
    folders = [write(tmp_path / "dcgan-seed0", value=0.5), write(tmp_path / "ablations" / "dcgan-seed0", value=0.7)]
    assert list(read_reports(folders, tmp_path)) == ["dcgan", "ablations/dcgan"]
    text = markdown(read_reports(folders, tmp_path))
    assert "| dcgan | 1 | 0.5 |" in text and "| ablations/dcgan | 1 | 0.7 |" in text
    assert list(read_reports(folders[1:])) == ["dcgan"]


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


def test_unfinished_runs_are_named(tmp_path):
    (tmp_path / "a-seed0").mkdir()
    with pytest.raises(RunError, match="a-seed0"):
        read_reports([tmp_path / "a-seed0"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": 3}'])
def test_a_damaged_report_is_named(tmp_path, text):
    (tmp_path / "a-seed0").mkdir()
    (tmp_path / "a-seed0" / "report.json").write_text(text)
    with pytest.raises(RunError, match="a-seed0/report.json"):
        read_reports([tmp_path / "a-seed0"])


def test_definition_errors(tmp_path):
    with pytest.raises(UsageError, match="no such benchmark"):
        load(tmp_path / "no.yaml")
    (tmp_path / "odd.yaml").write_text("rnus: [dcgan]\n")
    with pytest.raises(UsageError, match="accepted keys"):
        load(tmp_path / "odd.yaml")
    (tmp_path / "own.yaml").write_text("runs: [dcgan]\nown:\n  wgan: {model: {init_args: {width: 8}}}\n")
    with pytest.raises(UsageError, match="own: wgan is not among its runs: dcgan"):
        load(tmp_path / "own.yaml")


def test_a_failed_run_is_named_and_the_others_finish(tmp_path, monkeypatch):
    """Finished runs are left alone; one that cannot start is reported with its log."""
    write(tmp_path / "dcgan-seed0", config_hash=config_hash("settings"))
    benchmark = load(experiments_dir() / "benchmarks" / "games.yaml")
    benchmark.runs = ["dcgan", "ablations/no_such_part"]
    with pytest.raises(RunError, match="ablations/no_such_part-seed0.log"):
        run_missing(benchmark, tmp_path, [], jobs=1, resolved=lambda arguments: "settings")
    said = (tmp_path / "ablations" / "no_such_part-seed0.log").read_text()
    assert "experiments/ablations/no_such_part.yaml: no such file" in said


@pytest.fixture
def started(monkeypatch):
    """Names of the runs that are started; none is."""
    names = []

    class Process:
        returncode = 0

        def poll(self):
            return 0

    def start(run):
        names.append(run.name)
        return Process()

    monkeypatch.setattr("vidiff.bench.definition._start", start)
    monkeypatch.setattr("vidiff.bench.definition.time.sleep", lambda _: None)
    return names


def test_a_report_counts_for_its_configuration_only(tmp_path, started, capsys):
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
    run_missing(benchmark, tmp_path, [], jobs=1, resolved=resolved)
    assert started == ["changed-seed0", "interrupted-seed0", "abandoned-seed0", "new-seed0"]
    assert (tmp_path / "changed-seed0.before-1" / "report.json").exists() and not (tmp_path / "changed-seed0").exists()
    assert (tmp_path / "abandoned-seed0.before-1" / "config.yaml").exists()
    assert (tmp_path / "interrupted-seed0" / "config.yaml").exists()
    said = capsys.readouterr().err
    assert "changed-seed0: its configuration has changed" in said and "same-seed0" not in said
    assert f"old-seed0: {tmp_path / 'old-seed0' / 'report.json'} is of an older version" in said


def test_own_settings_reach_their_experiment_alone(tmp_path, started):
    """They are laid over what all have in common: the width stays, the rate is the experiment's own."""
    overlay = {"model": {"init_args": {"width": 4, "optimizer_g": {"lr": 1e-3}}}}
    own = {"wgan": {"model": {"init_args": {"optimizer_g": {"lr": 3e-3}}}}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"runs": ["dcgan", "wgan"], "overlay": overlay, "own": own}))
    texts = []
    for name in ("dcgan", "wgan"):
        write(tmp_path / f"{name}-seed0")
    resolved = lambda arguments: texts.append(resolved_config(arguments)) or ""  # noqa: E731
    run_missing(load(tmp_path / "two.yaml"), tmp_path, [], jobs=1, resolved=resolved)
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
