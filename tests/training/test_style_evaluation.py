"""A run of a style transfer end to end: measures of held-out clips, a report, a page, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers import TINY, rows
from stand_ins import StyleStandIn

from vidiff.cli import main
from vidiff.flow import flow_method
from vidiff.models.style_transfer import StyleTransfer
from vidiff.training.style_rows import ROW, means, row_of


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A small random network under the name of a trained one."""
    monkeypatch.setattr("vidiff.models.stylizer.style_extractor", lambda name: StyleStandIn())
    monkeypatch.setattr("vidiff.models.stylizer.available_extractor", lambda: "vgg16")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    from vidiff.data.shapes.render import render_dataset

    folder = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(folder, videos=12, frames=10, resolution=32)
    return folder


def fit(root: Path, *more: object) -> int:
    layers = [f"--config=experiments/{name}.yaml" for name in ("style", "_tiny")]
    quick = ["--evaluation.num_clips", 4, "--trainer.enable_progress_bar", "false", "--data.cache", "none"]
    return main(["fit", *layers, "--data.root", str(root), *map(str, [*quick, *more])])


def test_a_run_measures_held_out_clips_and_shows_them(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fit(root, "--run_dir", "r") == 0
    assert "Gram distance to the style" in capsys.readouterr().out
    report = json.loads(Path("r/report.json").read_text())
    found = report["directions"]["stylize"]
    assert {"gram_ratio", "content_cosine", "warp_ratio", "objective"} <= set(found) and 0 < found["gram_ratio"] < 2
    assert report["style"]["name"] == "style.png" and len(report["style"]["sha256"]) == 64
    curve = {int(r["step"]): float(r["val/objective"]) for r in rows(Path("r/metrics.csv")) if r.get("val/objective")}
    assert list(curve) == [0, 2, 4] and curve[4] < curve[0]
    assert report["checkpoint_step"] == min((2, 4), key=curve.get)  # the best of what was trained
    assert Path("r/samples/final.png").is_file()
    page = Path("r/report.html").read_text()
    assert "Gram distance to the style over source" in page and "Not finished" not in page
    walls = json.loads(Path("r/samples/walls.json").read_text())["walls"]
    assert walls[0]["columns"] == ["source", "stylized"]
    assert main(["doctor", "r"]) in (0, 1)  # 4 steps are too few to judge; it does not fall over
    again = ["--config", "r/config.yaml", "--ckpt_path", "r/checkpoints/last.ckpt", "--run_dir", "t"]
    assert main(["test", *again]) == 0
    other = json.loads(Path("t/report-test.json").read_text())
    assert other["protocol"]["sources"] == "test" and other["checkpoint_step"] == 4


def test_domains_are_refused(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    domains = ["--data.domain_a", "bounce", "--data.domain_b", "orbit"]
    assert fit(root, "--run_dir", "r", "--data", "PairDataModule", *domains) == 2
    assert "one kind and one style: use ClipDataModule" in capsys.readouterr().err


def test_rows_of_the_untouched_source_and_of_another_clip():
    model, flow = StyleTransfer(**TINY), flow_method("dis")
    clips = torch.randint(0, 256, (3, 3, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    table = [(torch.arange(3), row_of(model, clips, clips, flow))]
    assert table[0][1].shape == (3, len(ROW))
    same = means(table)
    assert (same["gram_ratio"], same["content_cosine"]) == pytest.approx((1.0, 1.0))
    assert same.get("warp_ratio", 1.0) == pytest.approx(1.0)
    still = clips[:, :, :1].expand(-1, -1, 4, -1, -1)
    frozen = means([(torch.arange(3), row_of(model, still, still // 2, flow))])
    assert frozen["content_cosine"] < 1 and "warp_ratio" in frozen  # 0 over 0 is 0
    assert "warp_ratio" not in means([(torch.arange(3), row_of(model, clips, clips, None))])
