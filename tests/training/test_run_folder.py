"""Which folder a run goes to: decided by the first process, refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidiff.errors import RunError, UsageError
from vidiff.training.run_folder import place_run


def test_processes_that_lightning_starts_leave_the_folder_to_the_first(tmp_path, monkeypatch, capsys):
    checkpoint = tmp_path / "r/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    monkeypatch.setenv("LOCAL_RANK", "1")
    run, path = place_run("fit", "dcgan", str(tmp_path / "r"), "last")
    assert run.resumed and Path(path) == checkpoint and not capsys.readouterr().err
    assert place_run("fit", "dcgan", str(tmp_path / "r"), None)[0].dir == tmp_path / "r"
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UsageError, match="already holds a run"):
        place_run("fit", "dcgan", str(tmp_path / "r"), None)
    with pytest.raises(RunError, match="not a readable checkpoint"):
        place_run("fit", "dcgan", str(tmp_path / "r"), "last")
    assert "continuing" in capsys.readouterr().err
