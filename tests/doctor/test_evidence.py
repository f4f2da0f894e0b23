"""What is read of a run folder: whole, unfinished, old, damaged, or none at all."""

from __future__ import annotations

import json
import math

import pytest

from vidiff.cli import main
from vidiff.doctor import examine
from vidiff.doctor.evidence import Curve, gather
from vidiff.errors import RunError, UsageError


def test_curves_leave_out_empty_cells_and_keep_what_is_not_finite(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/g_total,val/motion\n0,,1.5\n10,nan,\n20,0.5,1.25\n")
    (tmp_path / "timing.csv").write_text("step,time/data_wait_frac\n10,0.25\n")
    (tmp_path / "config.yaml").write_text("trainer: {max_steps: 40}\ndata: {init_args: {cache: disk}}\n")
    evidence = gather(tmp_path)
    assert evidence.curves["val/motion"] == Curve((0, 20), (1.5, 1.25))
    assert math.isnan(evidence.curves["train/g_total"].values[0]) and evidence.step == 20 and evidence.planned == 40
    assert evidence.setting("data", "cache") == "disk" and evidence.setting("data", "root") is None
    assert evidence.report is None and evidence.curves["time/data_wait_frac"].values == (0.25,)


def test_parts_of_a_curve():
    curve = Curve((10, 20, 30, 40), (1.0, 2.0, 3.0, 4.0))
    assert curve.between(0.5).values == (3.0, 4.0) and curve.between(0, 0.5).mean == 1.5
    assert Curve((), ()).between(0.5) == Curve((), ())


@pytest.mark.parametrize("text", ["no table at all\n", "step,train/g_total\nten,1\n", "step,train/g_total\n10,much\n"])
def test_a_damaged_table_is_an_error_in_one_line(tmp_path, text, capsys):
    (tmp_path / "metrics.csv").write_text(text)
    if text.startswith("no"):
        (tmp_path / "metrics.csv").write_text(f"{text}1\n")
    with pytest.raises(RunError, match=r"metrics\.csv cannot be read"):
        examine(tmp_path)
    assert main(["doctor", str(tmp_path)]) == 1 and capsys.readouterr().err.count("\n") == 1


def test_a_damaged_report_and_configuration_are_as_none(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/g_total\n10,1\n")
    (tmp_path / "report.json").write_text('{"metrics"')
    (tmp_path / "config.yaml").write_text("trainer: [")
    evidence = gather(tmp_path)
    assert evidence.report is None and evidence.config == {} and evidence.planned is None


def test_what_is_no_run_is_refused_with_the_one_below(tmp_path, capsys):
    run = tmp_path / "dcgan" / "20260101-000000-ab"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("step,train/g_total\n10,1\n")
    with pytest.raises(UsageError, match=f"did you mean {run}"):
        gather(tmp_path / "dcgan")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match=r"holds no metrics\.csv"):
        gather(tmp_path / "other")
    assert main(["doctor", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_command_prints_findings_and_what_was_not_judged(tmp_path, capsys):
    rows = "\n".join(f"{s},0.0,{s / 100}" for s in range(10, 410, 10))
    (tmp_path / "metrics.csv").write_text(f"step,train/lr_g,train/g_grad_norm\n{rows}\n")
    assert main(["doctor", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "G stands still" in out and "learning rate of G is 0" in out and "Not judged" in out and "flicker" in out
    assert main(["doctor", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[str(tmp_path)]
    assert told["findings"][0]["kind"] == "still" and "grid" in told["unjudged"]
