"""`vidiff fuse`: what it prints, and what it refuses in one line."""

from __future__ import annotations

from helpers import TINY, quiet_trainer

from vidiff.cli import main
from vidiff.models.dcgan import DCGAN


def test_fusing_from_the_command_line(tmp_path, capsys):
    trainer = quiet_trainer(max_steps=1)
    trainer.strategy.connect(DCGAN(**TINY))
    a, b, out = (str(tmp_path / f"{name}.ckpt") for name in "abc")
    for path in (a, b):
        trainer.save_checkpoint(path)
    capsys.readouterr()
    assert main(["fuse", a, b, "--output", out, "--weights", "2", "1"]) == 0
    assert capsys.readouterr().out == f"2 checkpoints averaged in {out}\n"
    for more, named in (
        (["--weights", "1", "x"], "invalid float value: 'x'"),
        (["--weights", "1", "-1"], "must not be negative"),
        (["--output", a], "one of the inputs"),
    ):
        assert main(["fuse", a, b, "--output", str(tmp_path / "d.ckpt"), *more]) == 2
        said = capsys.readouterr().err
        assert named in said and len(said.splitlines()) == 1
    assert not (tmp_path / "d.ckpt").exists()
