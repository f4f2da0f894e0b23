"""What the training verbs parse: every file once, older names, the run folder of each process."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidiff import configs
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.training.cli import place_run, resolved_config

TINY = ["--config", "experiments/loss_sensitive.yaml", "--config", "experiments/_tiny.yaml"]


def test_a_configuration_of_an_older_run_is_that_of_a_new_one(tmp_path, monkeypatch):
    """Under the class path that it was written with, and every file is read once."""
    read, real = [], configs.read_yaml
    monkeypatch.setattr(configs, "read_yaml", lambda path: read.append(path.name) or real(path))
    text = resolved_config(["fit", *TINY])
    assert read == ["loss_sensitive.yaml", "_tiny.yaml"]
    old = tmp_path / "config.yaml"
    old.write_text(text.replace("vidiff.models.loss_sensitive.", "vidiff.models.ls_gan."))
    assert old.read_text() != text == resolved_config(["fit", f"--config={old}"])


def test_flags_and_files_win_by_their_order(tmp_path):
    late = tmp_path / "late.yaml"
    late.write_text("trainer: {max_steps: 7}\nrun_dir: somewhere\n")
    flag = ["--trainer.max_steps", "9"]
    assert "max_steps: 7" in resolved_config(["fit", *TINY, *flag, "-c", str(late)])
    text = resolved_config(["fit", *TINY, "-c", str(late), *flag])
    assert "max_steps: 9" in text and "run_dir: null" in text


@pytest.mark.parametrize("flag", ["--model.num_frames=5", "--model.init_args.num_frames=5", "--model.seed=1"])
def test_linked_sizes_may_not_contradict_each_other(flag):
    with pytest.raises(UsageError, match="contradicts .*the model follows it"):
        resolved_config(["fit", *TINY, flag])
    assert resolved_config(["fit", *TINY, "--model.num_frames", "8"]) == resolved_config(["fit", *TINY])


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
    assert main(["fit", *TINY, "--run_dir", str(tmp_path / "r"), "--ckpt_path", "last"]) == 1
    assert "continuing" in capsys.readouterr().err


def test_help_is_a_screen_and_a_familys_needs_no_configuration(capsys):
    for verb in ("fit", "validate", "test"):
        assert main([verb, "--help"]) == 0
        assert len(capsys.readouterr().out.splitlines()) < 35
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.help", "DCGAN"])
    assert stop.value.code == 0 and "--model.real_label" in capsys.readouterr().out
