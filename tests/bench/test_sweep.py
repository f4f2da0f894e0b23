"""Searches: the same number of trials for each, resumed where they were interrupted, refused where they changed."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import yaml

from vidiff.bench import sweep as module
from vidiff.bench.sweep import Sweep, load_sweep, search, summary, values_of
from vidiff.errors import RunError, UsageError
from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config

optuna = pytest.importorskip("optuna")
SWEEPS = sorted((experiments_dir() / "sweeps").glob("*.yaml"))
OURS = [path for path in SWEEPS if not path.stem.startswith("wandb")]


class Trial:
    """Takes the same corner of every range."""

    def __init__(self, high: int):
        self.high, self.number = high, 0

    def suggest_float(self, name, low, high, **_):
        return high if self.high else low

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        return choices[-1 if self.high else 0]


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.stem)
def test_shipped_sweeps_name_real_options(path, tmp_path):
    """One corner of the space or the other is accepted by `fit` for every experiment."""
    sweep = load_sweep(path)
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(sweep.overlay))
    for number, name in enumerate(sweep.runs):
        assert resolved_config(module._words(sweep, name, Trial(number % 2), tmp_path, tmp_path / "overlay.yaml", []))


@pytest.mark.parametrize("path", [p for p in SWEEPS if p not in OURS], ids=lambda p: p.stem)
def test_sweeps_of_wandb_call_a_benchmark(path, tmp_path):
    """What an agent would call is a command of ours, for every value of the grid."""
    from vidiff.bench.definition import chosen, list_runs, load
    from vidiff.command_line import parser_of
    from vidiff.commands import bench
    from vidiff.configs import find_experiment

    sweep = yaml.safe_load(path.read_text())
    fixed = [word for word in sweep["command"] if not word.startswith("${")]
    assert fixed[:4] == ["-m", "vidiff", "bench", "run"] and sweep["command"][-1] == "${args}"
    grid = {name: values["values"] for name, values in sweep["parameters"].items()}
    benchmark = load(find_experiment(fixed[4]))
    assert grid["only"] == benchmark.runs and grid["seeds"] == benchmark.seeds
    for only in grid["only"]:
        given = parser_of(bench.run, "vidiff bench run").parse_args([*fixed[4:], f"--only={only}", "--seeds=1"])
        runs = chosen(list_runs(benchmark, tmp_path, tmp_path, []), given.only, given.seeds)
        assert [run.name for run in runs] == [f"{only}-seed1"] and given.jobs == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("trials: 0", "trials must be at least 1"),
        ("budget: {}", "budget: one of clips, cpu_seconds, gpu_seconds, got none"),
        ("space: {model.lr: {low: 1}}", "model.lr: give choices, or low and high"),
        ("own_space: {wgan: {}}", "unknown experiment 'wgan'"),
        ("trails: 3", "accepted keys: runs, space, trials"),
    ],
)
def test_definition_errors(tmp_path, change, match):
    content = {"runs": ["dcgan"], "space": {}, "trials": 2, "budget": {"clips": 8}} | yaml.safe_load(change)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=match):
        load_sweep(tmp_path / "s.yaml")


SPACE = {"model.lr": {"low": 1e-5, "high": 1e-1, "log": True}, "data.batch_size": {"choices": [2, 4]}}
SWEEP = Sweep(["dcgan", "lsgan"], SPACE, trials=6, budget={"clips": 8})


@pytest.fixture
def trained(monkeypatch):
    """Trials that are not trained: the value is known, 0 at a rate of 1e-3."""
    import math

    seen = []

    def run(trial, words, folder, sweep):
        rate = float(words[words.index("--model.lr") + 1])
        seen.append((folder.parent.name, rate))
        return None if len(seen) == 2 else (math.log10(rate) + 3) ** 2

    monkeypatch.setattr(module, "_run", run)
    return seen


def test_every_experiment_has_the_same_budget_and_it_is_printed(tmp_path, trained, capsys):
    found = search(SWEEP, tmp_path)
    assert [f.finished + f.failed for f in found] == [6, 6] and len(trained) == 12 and found[0].failed == 1
    assert all(f.value == min(v for v in [f.value]) and set(f.settings) == set(SPACE) for f in found)
    text = summary(SWEEP, found)
    assert "6 trials of 8 clips for each family" in text and "| lsgan | 6 | 0 | 0 |" in text
    assert f"--model.lr {found[1].settings['model.lr']}" in text
    assert "dcgan: trial 2 of 6 FAILED" in capsys.readouterr().err


def test_a_finished_search_is_not_repeated_and_more_trials_go_on(tmp_path, trained):
    first = search(SWEEP, tmp_path)
    count = len(trained)
    assert search(SWEEP, tmp_path) == first and len(trained) == count
    search(replace(SWEEP, trials=7), tmp_path, only=["lsgan"])
    assert len(trained) == count + 1 and trained[-1][0] == "lsgan"


def test_an_interrupted_trial_is_tried_again(tmp_path, trained, monkeypatch):
    run = module._run

    def killed(trial, words, folder, sweep):
        if len(trained) == 3:
            trained.append(("killed", float(words[words.index("--model.lr") + 1])))
            raise KeyboardInterrupt
        return run(trial, words, folder, sweep)

    monkeypatch.setattr(module, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        search(SWEEP, tmp_path, only=["dcgan"])
    (found,) = search(SWEEP, tmp_path, only=["dcgan"])
    assert trained[4][1] == trained[3][1]  # with the same settings
    assert found.finished + found.failed == 6 and len(trained) == 7


def test_another_space_is_another_search(tmp_path, trained):
    search(SWEEP, tmp_path, only=["dcgan"])
    with pytest.raises(UsageError, match="holds a search of dcgan with another space: choose --output"):
        search(replace(SWEEP, space={"model.lr": SPACE["model.lr"]}), tmp_path, only=["dcgan"])


def test_all_failed_is_an_error():
    with pytest.raises(RunError, match="every trial of dcgan failed"):
        summary(SWEEP, [module.Found("dcgan", 0, 0, 6, None, {})])


def test_hopeless_trials_are_ended(tmp_path, monkeypatch):
    """A process that writes bad values and never ends by itself."""
    program = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--run_dir") + 1]); folder.mkdir(parents=True)
bad = float(sys.argv[sys.argv.index("--model.lr") + 1])
with (folder / "metrics.csv").open("w") as file:
    file.write("step,val/clip_distance\\n0,99\\n1,%g\\n" % bad)
time.sleep(3600 if bad > 5 else 0)
"""
    (tmp_path / "program.py").write_text(program)
    real = module.subprocess.Popen

    def start(command, **how):
        return real([sys.executable, str(tmp_path / "program.py"), *command[3:]], **how)

    monkeypatch.setattr(module.subprocess, "Popen", start)
    monkeypatch.setattr(module, "POLL_S", 0.02)
    sweep = Sweep(["dcgan"], {"model.lr": {"choices": [1.0]}}, trials=4, budget={"clips": 8})
    search(sweep, tmp_path / "out")
    study = optuna.load_study(study_name="dcgan", storage=f"sqlite:///{tmp_path / 'out' / 'study.db'}")
    study.enqueue_trial({"model.lr": 9.0})
    monkeypatch.setattr(module, "_suggested", lambda trial, option, space: 9.0)
    (found,) = search(replace(sweep, trials=5), tmp_path / "out")
    assert (found.finished, found.pruned, found.value) == (4, 1, 1.0)


def test_values_leave_out_the_start(tmp_path):
    path = tmp_path / "metrics.csv"
    assert values_of(path, "val/x") == []
    path.write_text("step,train/g,val/x\n0,,9.0\n10,1.0,\n20,1.0,0.5\n30,1.0,0.25\n40,1.0")
    assert values_of(path, "val/x") == [0.5, 0.25]
