"""What `make demo` and `make demo-generate` type is what the program takes, step by step."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from test_docs import check_command, lines_of

from vidiff.paths import experiments_dir
from vidiff.training.cli import resolved_config

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def typed(target: str) -> list[list[str]]:
    """The words of every `vidiff` command of a target, as make would run them."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.replace("\\\n", " ").splitlines() if "/bin/vidiff " in line]
    return [["vidiff", *words[1:]] for words in lines_of("\n".join(lines))]


@pytest.mark.parametrize("target", ["demo", "demo-generate"])
def test_a_demo_types_what_the_program_takes(target):
    commands = typed(target)
    (run,) = {words[i + 1] for words in commands for i, word in enumerate(words) if word == "--run_dir"}
    assert re.fullmatch(r"runs/demo/\d{8}-\d{6}", run)  # a second time is another run
    for words in commands:
        check_command(words)
        for name in (w for w in words if w.startswith("experiments/")):
            assert (experiments_dir() / name.removeprefix("experiments/")).is_file(), name
        assert words[1] == "data" or any(word.startswith(run) for word in words), words
    assert commands[0][1] == "fit" and commands[-1][1:] == ["report", run]  # the page's path is the last line


def test_the_demo_translates_a_video_that_it_has_just_made_and_never_seen():
    make, translate = (next(w for w in typed("demo") if w[1] == verb) for verb in ("data", "translate"))
    options = dict(zip(make[3::2], make[4::2]))
    video = Path(translate[translate.index("--input") + 1])
    assert video.is_relative_to(options["--output"]) and video.name == "00000.mp4"
    assert options["--seed"] != "0" and "--styles" not in options  # other scenes than those of the training, by day


@pytest.mark.parametrize("experiment, overlay, most", [("cyclegan", "_demo", 240), ("anytime", "_demo_generate", 3000)])
def test_a_demo_is_short_and_ends_with_an_evaluation(experiment, overlay, most):
    layers = [word for name in (experiment, overlay) for word in ("--config", f"experiments/{name}.yaml")]
    found = yaml.safe_load(resolved_config(["fit", *layers]))
    steps, every = found["trainer"]["max_steps"], found["evaluation"]["every_n_steps"]
    assert steps <= most and steps % every == 0 and 1 < steps / every <= 4
    assert found["trainer"]["accelerator"] == "cpu" and found["data"]["init_args"]["root"] is None


def test_help_lists_every_target():
    targets = set(re.search(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[1].split())
    assert {m[1] for m in re.finditer(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)} == targets
