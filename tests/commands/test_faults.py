"""Runs that were killed and checkpoints that are damaged: what a user does next works, and is said in one line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from helpers import rows

from vidiff.cli import main
from vidiff.files import TEMPORARY

FEW = ("--run_dir", "r", "--evaluation.num_clips", 8, "--evaluation.metrics", "fvd_random")


class Killed(BaseException):
    """The process is gone: nothing that would clean up comes to anything any more."""


@pytest.fixture
def killed(monkeypatch):
    """killed(fit, name, before) runs `fit` and kills it when a file of that name is put in its place."""

    def run(fit, name: str, before: bool, *arguments) -> None:
        real, dead = os.replace, []

        def replace(source, target, **kwargs):
            last = not dead and Path(target).name == name
            if last and not before:
                real(source, target, **kwargs)
            if last:
                dead.append(name)
            if dead:
                raise Killed
            return real(source, target, **kwargs)

        unlink = Path.unlink
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            patch.setattr(Path, "unlink", lambda self, **kwargs: None if dead else unlink(self, **kwargs))
            with pytest.raises(Killed):
                fit(*FEW, *arguments)

    return run


POINTS = [("metrics.csv", False), ("last.ckpt", True), ("report.json", True)]
SLOW_POINTS = [(n, b) for n in ("config.yaml", "best.ckpt", *dict(POINTS)) for b in (True, False)]
ALL = POINTS + [pytest.param(*p, marks=pytest.mark.slow) for p in SLOW_POINTS if p not in POINTS]


@pytest.mark.parametrize("name, before", ALL)
def test_a_killed_run_ends_with_a_report_by_the_command_that_is_named(fit, killed, capsys, name, before):
    killed(fit, name, before, "--trainer.max_steps", 2)
    Path("r/.vidiff-host-1-x.part.csv").write_text("half")
    capsys.readouterr()
    code = fit(*FEW, "--trainer.max_steps", 2)
    said = capsys.readouterr().err
    has_checkpoint = any(Path("r/checkpoints").glob("*.ckpt"))
    if code:
        (way,) = [w for w in ("--ckpt_path last", "--ckpt_path r/checkpoints/best.ckpt") if w in said]
        assert code == 2 and has_checkpoint and "already holds a run" in said
        assert fit(*FEW, "--trainer.max_steps", 2, *way.split()) == 0
    elif name != "config.yaml" or not before:
        assert "begins anew" in said and list(Path("r").glob("unfinished-*"))
    assert json.loads(Path("r/report.json").read_text())["steps"] == 2
    assert [r["step"] for r in rows(Path("r/metrics.csv"))] == ["0", "1", "2"]
    assert {p.name for p in Path("r/checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert not [p for p in Path("r").rglob("*") if TEMPORARY.fullmatch(p.name)]


def test_without_a_checkpoint_the_way_on_is_said(fit, killed, capsys):
    killed(fit, "metrics.csv", False)
    capsys.readouterr()
    assert fit(*FEW, "--ckpt_path", "last") == 2
    assert "leave --ckpt_path out, and the run begins anew" in capsys.readouterr().err
    Path("r/notes.txt").write_text("mine")
    assert fit(*FEW) == 2 and "other files (notes.txt)" in capsys.readouterr().err
    assert fit("--run_dir", "none", "--ckpt_path", "last") == 2 and "no run in none" in capsys.readouterr().err


class Bomb:
    def __reduce__(self):
        return os.system, ("touch marker",)


def test_damaged_checkpoints_in_training_verbs(fit, capsys):
    """Read by the one reader, before the first step, and without a folder for the run that does not begin."""
    assert fit(*FEW, "--trainer.max_steps", 2) == 0
    whole, good = Path("r/checkpoints/last.ckpt").read_bytes(), torch.load("r/checkpoints/last.ckpt", weights_only=True)
    cases = {
        "cut": (whole[:5000], "not a readable checkpoint: it was cut off"),
        "bomb": (good | {"more": Bomb()}, "more than plain values"),
        "list": ([1], "it holds a list"),
        "no loops": (good | {"loops": {}}, "damaged or of another training: KeyError"),
        "no optimiser": (good | {"optimizer_states": [1, 2]}, "damaged or of another training"),
        "bad record": (good | {"vidiff": good["vidiff"] | {"batches_seen": "many"}}, "batches_seen is a str"),
    }
    hostile = {"class_path": "os.system", "init_args": {"command": "touch marker"}}
    for name, (content, said) in cases.items():
        Path("bad.ckpt").write_bytes(content) if name == "cut" else torch.save(content, "bad.ckpt")
        capsys.readouterr()
        assert fit("--run_dir", "new", "--ckpt_path", "bad.ckpt", "--trainer.max_steps", 3) == 1, name
        error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vidiff: error")]
        assert len(error) == 1 and said in error[0] and "bad.ckpt" in error[0], (name, error)
        assert not Path("marker").exists()
    shutil.rmtree("new", ignore_errors=True)
    common = ["--config", "r/config.yaml", "--run_dir", "v", "--ckpt_path"]
    assert main(["validate", *common, "bad.ckpt"]) == 1 and "batches_seen is a str" in capsys.readouterr().err
    assert main(["test", *common, "r"]) == 2 and "r is a folder: take r/checkpoints/best" in capsys.readouterr().err
    # A record that names a program is compared, not built.
    record = good["vidiff"] | {"init_args": good["vidiff"]["init_args"] | {"generator": hostile}}
    torch.save(good | {"vidiff": record}, "bad.ckpt")
    assert main(["validate", *common, "bad.ckpt"]) == 0 and not Path("marker").exists()
    # A damaged last checkpoint of a run: the best one is offered.
    Path("r/checkpoints/last.ckpt").write_bytes(whole[:5000])
    assert fit(*FEW, "--ckpt_path", "last", "--trainer.max_steps", 3) == 1
    assert "continue with --ckpt_path r/checkpoints/best.ckpt" in capsys.readouterr().err
