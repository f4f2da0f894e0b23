"""`vidiff export`: says what it wrote, and in one line what it cannot."""

from __future__ import annotations

from vidiff.cli import main


def test_a_model_of_the_zoo(tmp_path, capsys):
    assert main(["export", "--ckpt", "zoo:cyclegan-day2night", "--output", str(tmp_path / "m.safetensors")]) == 0
    out = capsys.readouterr().out
    assert "input clip: (batch, 3, frames, height, width)" in out and "m.safetensors: at most 0.0e+00 from" in out


def test_errors_in_one_line(tmp_path, capsys):
    for ckpt, output, code, said in (
        ("zoo:stargan-styles", "m.pt2", 2, "a target is needed"),
        ("zoo:nothing", "m.pt2", 2, "unknown model of the zoo"),
        ("zoo:stargan-styles", "m.mp4", 2, "accepted: .onnx"),
    ):
        assert main(["export", "--ckpt", ckpt, "--output", str(tmp_path / output)]) == code
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
