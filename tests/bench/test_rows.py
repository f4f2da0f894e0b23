"""Reports of runs as rows, written and read back."""

from __future__ import annotations

import copy
import json

import pytest
from reports import REPORT, row, write

from vidiff.bench.rows import as_run, read_config, read_report, read_rows, rows_of, write_configs, write_rows
from vidiff.bench.table import tables
from vidiff.errors import RunError, UsageError
from vidiff.metrics.protocol import protocol_hash
from vidiff.training.run import config_hash


def test_a_row_has_all_that_traces_it(tmp_path):
    run = as_run(write(tmp_path / "dcgan-seed3"), "dcgan-seed3")
    rows = rows_of(run, "games")
    assert [r["metric"] for r in rows] == ["fvd_random", "motion"]
    first = rows[0]
    assert (first["benchmark"], first["run"], first["family"], first["seed"]) == ("games", "dcgan-seed3", "dcgan", 3)
    assert first["value"] == 0.5 and first["floor"] == 0.01 and first["controls"]["grey_noise"] == 30.0
    assert first["protocol_hash"] == protocol_hash(first["protocol"]) and first["config_hash"] == "0123456789abcdef"
    assert first["cost"]["cpu_seconds"] == 100.0 and first["cost"]["parameters"] == {"g": 1000, "d": 900}
    assert {"git_commit", "versions", "hardware", "date"} <= set(first)


def test_written_and_read_back(tmp_path):
    rows = [row("a", 0, 0.1), row("a", 1, 0.30000000000000004)]
    write_rows(tmp_path / "results.jsonl", rows)
    assert read_rows([tmp_path / "results.jsonl"]) == rows == read_rows([tmp_path])
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_configurations_lie_beside_the_rows(tmp_path):
    run = as_run(write(tmp_path / "a-seed0"), "a-seed0")
    (run.folder / "config.yaml").write_text("seed_everything: 0\n")
    name = config_hash("seed_everything: 0\n")
    write_configs(tmp_path / "results.jsonl", [run], [row("a", 0, 0.5, config_hash=name)])
    write_configs(tmp_path / "results.jsonl", [], [row("a", 0, 0.5, config_hash=name)])  # from another machine's part
    for path in (tmp_path, tmp_path / "results.jsonl"):
        assert read_config(path, name) == "seed_everything: 0\n" and read_config(path, "another") is None
    write_configs(tmp_path / "results.jsonl", [], [])
    assert read_config(tmp_path, name) is None


def test_run_folders_and_folders_of_them(tmp_path):
    write(tmp_path / "a-seed0")
    write(tmp_path / "a-seed0.before-1")
    (tmp_path / "ablations").mkdir()
    write(tmp_path / "ablations" / "d_unet-seed2")
    assert {r["run"] for r in read_rows([tmp_path])} == {"a-seed0", "ablations/d_unet-seed2"}
    assert {r["family"] for r in read_rows([tmp_path / "ablations" / "d_unet-seed2"])} == {"d_unet"}


def test_untrained_of_an_older_report_is_left_out(tmp_path):
    """It was measured with BatchNorm's initial statistics, the generator with its own."""
    report = copy.deepcopy({k: v for k, v in REPORT.items() if k != "config_hash"})
    (tmp_path / "old-seed0").mkdir()
    (tmp_path / "old-seed0" / "report.json").write_text(json.dumps(report))
    rows = read_rows([tmp_path / "old-seed0"])
    assert all("untrained" not in r["controls"] for r in rows) and tables(rows)


def test_directions_are_metrics(tmp_path):
    """With the true counterpart's value as their floor, and a protocol that names the data."""
    report = {k: v for k, v in copy.deepcopy(REPORT).items() if k != "controls"}
    report["metrics"] = {"fvd_random_a2b": {"value": 1.0, "floor": 0.1, "protocol": {"metric": "fvd_random"}}}
    report["directions"] = {"a2b": {"psnr": 24.0, "oracle_psnr": 40.0, "psnr_gain": 12.5, "ssim_gain": None,
                                    "controls": {"identity": {"fvd_random": 5.0}}}}  # fmt: skip
    report["data"] = {"fingerprint": "f", "num_frames": 8, "dataset": "pairs"}
    (tmp_path / "r-seed0").mkdir()
    (tmp_path / "r-seed0" / "report.json").write_text(json.dumps(report))
    rows = {r["metric"]: r for r in read_rows([tmp_path / "r-seed0"])}
    assert set(rows) == {"fvd_random_a2b", "psnr_a2b", "psnr_gain_a2b"}
    assert rows["psnr_a2b"]["floor"] == 40.0 and rows["psnr_gain_a2b"]["value"] == 12.5
    assert rows["psnr_a2b"]["protocol"]["fingerprint"] == "f" and rows["psnr_a2b"]["data_set"] == "pairs"
    assert rows["fvd_random_a2b"]["controls"] == {"identity": 5.0}


def test_errors(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_rows([tmp_path / "none"])
    with pytest.raises(UsageError, match="holds no results"):
        read_rows([tmp_path])
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(RunError, match="bad.jsonl cannot be read"):
        read_rows([tmp_path / "bad.jsonl"])
    (tmp_path / "odd.jsonl").write_text('{"value": 1}\n')
    with pytest.raises(RunError, match="no result"):
        read_rows([tmp_path / "odd.jsonl"])
    with pytest.raises(RunError, match="not finished"):
        read_report(tmp_path / "report.json")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(RunError, match="holds no `metrics`"):
        read_report(tmp_path / "report.json")
