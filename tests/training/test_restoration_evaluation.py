"""A run of a restoration end to end: both stages in its report, classical methods, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers import rows

from vidiff.cli import main
from vidiff.training.restoration_rows import ROW, means, row_of, strongest

STAGES = '[{"steps":2,"players":["g"]},{"players":["g","d"]}]'


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    from vidiff.data.shapes.render import render_dataset

    folder = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(folder, videos=12, frames=10, resolution=32)
    return folder


def fit(root: Path, *more: object) -> int:
    layers = [f"--config=experiments/{name}.yaml" for name in ("restoration", "_restore_blocks", "_tiny")]
    quick = ["--evaluation.metrics", "fvd_random", "--evaluation.metrics_in_training", '["fvd_random"]']
    quick += ["--evaluation.num_clips", 4, "--trainer.enable_progress_bar", "false", "--data.cache", "none"]
    return main(["fit", *layers, "--data.root", str(root), "--model.stages", STAGES, *map(str, [*quick, *more])])


def test_a_run_shows_both_stages(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fit(root, "--run_dir", "r") == 0
    shown = capsys.readouterr().out
    assert "network, first stage" in shown and "OpenCV inpainting" in shown
    report = json.loads(Path("r/report.json").read_text())
    methods, direction = report["methods"], report["directions"]["restore"]
    assert {"degraded", "non_local_means", "inpainting", "pixel_stage", "restored", "oracle"} <= set(methods)
    assert methods["inpainting"]["psnr"] > methods["degraded"]["psnr"] + 3
    assert direction["psnr_gain"] == pytest.approx(methods["restored"]["psnr"] - methods["degraded"]["psnr"])
    assert report["checkpoint"] == "best.ckpt" and report["checkpoint_step"] == 4  # of the last stage
    assert sorted(p.name for p in Path("r/checkpoints").iterdir()) == ["best.ckpt", "last.ckpt", "pixel.ckpt"]
    curve = [float(r["test/psnr_restore"]) for r in rows(Path("r/metrics.csv")) if r.get("test/psnr_restore")]
    assert len(curve) == 3 and curve[0] != curve[-1]
    assert Path("r/samples/final.png").is_file() and Path("r/report.html").is_file()


def test_data_of_two_domains_is_refused(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    domains = ["--data.domain_a", "bounce", "--data.domain_b", "orbit"]
    assert fit(root, "--run_dir", "r", "--data", "PairDataModule", *domains) == 2
    assert "makes its own damage: use ClipDataModule" in capsys.readouterr().err


def test_rows_of_the_truth_and_the_best_strength():
    truth = torch.randint(0, 256, (3, 3, 4, 16, 16), dtype=torch.uint8)
    table = [(torch.tensor([0, 1, 2]), row_of(truth, truth))]
    assert table[0][1].shape == (3, len(ROW))
    found = means(table)
    assert found["psnr"] == pytest.approx(100.0) and found["ssim"] == pytest.approx(1.0)
    assert found["temporal_error"] == 0.0 and found["sharpness"] == found["flicker_ratio"] == pytest.approx(1.0)
    best = strongest({"a": {"psnr": 1.0}, "b@3": {"psnr": 2.0}, "b@9": {"psnr": 5.0}, "b@12": {"psnr": 4.0}})
    assert best == {"a": {"psnr": 1.0}, "b": {"psnr": 5.0, "strength": 9.0}}
