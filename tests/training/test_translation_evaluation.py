"""Translation end to end on small embedded sets: report, sheets, curves, resume, and what does not fit."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path

import pytest
import torch

import vidiff
from vidiff.cli import main
from vidiff.training import probes
from vidiff.training.translation_evaluation import TranslationEvaluation


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    from vidiff.data.shapes.render import render_domains

    folder = tmp_path_factory.mktemp("domains")
    small = dict(videos=8, frames=12, resolution=32, test_videos=4)
    render_domains(folder / "cyclegan", styles=("plain", "night"), **small)
    render_domains(folder / "stargan", styles=("plain", "night", "sketch"), **small)
    return {name: folder / name for name in ("cyclegan", "stargan")}


@pytest.fixture
def fit(roots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(experiment: str, *extra) -> int:
        layers = ["--config", f"experiments/{experiment}.yaml", "--config", "experiments/_tiny.yaml"]
        quick = ["--evaluation.metrics", "fvd_random,motion,diversity", "--trainer.enable_progress_bar", "false"]
        quick += ["--evaluation.num_clips", "6", "--data.cache", "none"]
        return main(["fit", *layers, "--data.root", str(roots[experiment]), *quick, *map(str, extra)])

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.parametrize(
    "experiment, names, domains",
    [("cyclegan", ["a2b", "b2a"], ["A", "B"]), ("stargan", ["to_night", "to_plain"], ["night", "plain", "sketch"])],
)
def test_a_run_is_measured_in_every_direction(fit, capsys, monkeypatch, experiment, names, domains):
    monkeypatch.setattr(probes, "train_regressor", functools.partial(probes.train_regressor, steps=20))
    assert fit(experiment, "--run_dir", "r", "--trainer.max_steps", 2) == 0
    report = json.loads(Path("r/report.json").read_text())
    assert set(names) <= set(report["directions"])
    for name in names:
        d = report["directions"][name]
        assert {"psnr", "ssim", "cycle_l1", "cycle_psnr", "flicker_difference", "target_accuracy"} <= set(d)
        assert {"psnr_gain", "ssim_gain", "position_error", "identity_position_error"} <= set(d)
        assert d["psnr_gain"] == pytest.approx(d["psnr"] - d["identity_psnr"], abs=1e-6)
        assert set(d["controls"]) == {"identity", "oracle"}
        assert d["oracle_psnr"] > 30 > d["identity_psnr"] > 5
        metric = report["metrics"][f"fvd_random_{name}"]
        assert metric["value"] > metric["floor"]
        assert metric["protocol"]["dataset"].endswith(d["target"])
    assert len({report["metrics"][f"fvd_random_{n}"]["hash"] for n in names}) == len(names)  # never mixed in a table
    assert list(report["classifier"]["accuracy_on_real"]) == domains
    errors = report["position_regressor"]["error_on_real"]
    assert list(errors) == domains and all(0 < e < 16 for e in errors.values())
    copies = [report["directions"][n]["identity_position_error"] for n in names]
    assert min(errors.values()) * 0.7 < min(copies) <= max(copies) < 1.4 * max(errors.values())  # 6 clips each
    assert "clip_distance" in report["selection"] and report["protocol"]["sources"] == "test"
    curve = rows(Path("r/metrics.csv"))
    assert curve[-1]["val/fvd_random"] and float(curve[-1][f"test/psnr_{names[0]}"]) > 0
    each = [float(curve[-1][f"val/fvd_random_{n}"]) for n in report["directions"]]
    assert float(curve[-1]["val/fvd_random"]) == pytest.approx(sum(each) / len(each), rel=1e-6)
    assert {p.suffix for p in Path("r/samples").iterdir()} == {".png", ".gif", ".mp4", ".json"}
    said = capsys.readouterr().out
    assert "true counterpart" in said and "untranslated" in said
    assert said.count("gain over identity") == len(report["directions"]) and "regressor's own" in said
    model = vidiff.load_model("r/checkpoints/best.ckpt")
    assert model.domains == domains
    monkeypatch.setattr(probes, "train_regressor", None)  # the probes are kept from the first report
    verb = ["--config", "r/config.yaml", "--ckpt_path", "r/checkpoints/last.ckpt", "--run_dir", "t"]
    assert main(["test", *verb]) == 0
    other = json.loads(Path("t/report-test.json").read_text())
    assert other["position_regressor"]["error_on_real"] == errors and other["steps"] == report["steps"] == 2
    if experiment == "cyclegan":
        assert main(["validate", *verb]) == 0
        validated = json.loads(Path("t/report-validate.json").read_text())
        assert "position_error" in validated["directions"]["a2b"] and "psnr" not in validated["directions"]["a2b"]
    assert other["metrics"][f"fvd_random_{names[0]}"]["protocol"]["split"] == "test"


@pytest.mark.parametrize("experiment", ["cyclegan", "stargan"])
def test_resume_is_exact(fit, experiment, monkeypatch):
    """The buffer of past clips, the balanced sampler and the targets continue where they were."""
    monkeypatch.setattr(TranslationEvaluation, "report", lambda *_: None)
    monkeypatch.setattr(TranslationEvaluation, "evaluate", lambda *_: {})
    common = ("--data.clips_per_epoch", 12, "--checkpoints.every_n_steps", 2, "--evaluation.every_n_steps", 100)
    common += ("--model.lr_schedule.total_steps", 4, "--trainer.log_every_n_steps", 1)
    common += ("--model.pool_size", 3) if experiment == "cyclegan" else ("--model.n_critic", 2)
    assert fit(experiment, "--run_dir", "straight", *common, "--trainer.max_steps", 4) == 0
    assert fit(experiment, "--run_dir", "parts", *common, "--trainer.max_steps", 2) == 0
    assert fit(experiment, "--run_dir", "parts", *common, "--trainer.max_steps", 4, "--ckpt_path", "last") == 0
    a, b = (torch.load(f"{d}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for d in ("straight", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    straight, parts = rows(Path("straight/metrics.csv")), rows(Path("parts/metrics.csv"))
    for one, two in zip(straight[3:], parts[3:]):
        assert {k: v for k, v in one.items() if k.startswith("train/")} == {
            k: v for k, v in two.items() if k.startswith("train/")
        }


def test_data_that_does_not_fit_is_explained(fit, capsys):
    wrong = ("--data.class_path", "ClipDataModule", "--run_dir", "r")
    assert fit("cyclegan", *wrong) == 2
    said = capsys.readouterr().err
    assert "PairDataModule" in said and "Traceback" not in said
    assert fit("stargan", *wrong) == 2
    assert "DomainDataModule" in capsys.readouterr().err
