"""What the training verbs parse: every file once, older names, flags and files by their order."""

from __future__ import annotations

import pytest

from vidiff import configs
from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.training.cli import resolved_config

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


def test_help_is_a_screen_and_a_familys_needs_no_configuration(capsys):
    for verb in ("fit", "validate", "test"):
        assert main([verb, "--help"]) == 0
        assert len(capsys.readouterr().out.splitlines()) < 35
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.help", "DCGAN"])
    assert stop.value.code == 0 and "--model.real_label" in capsys.readouterr().out
