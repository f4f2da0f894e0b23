"""Tables of reports: means, verdicts, and protocols that are never mixed."""

from __future__ import annotations

import copy
import json

import pytest
from reports import REPORT, write

from vidiff.bench.table import markdown, read_reports
from vidiff.errors import RunError, UsageError


def test_table_means_and_verdicts(tmp_path):
    folders = [write(tmp_path / "a-seed0", value=0.4), write(tmp_path / "a-seed1", value=0.6)]
    folders.append(write(tmp_path / "b-seed0", value=2.5))
    folders.append(write(tmp_path / "c-seed0", value=0.25, untrained=12.0))
    folders.append(write(tmp_path / "c-seed1", value=0.1, untrained=14.0))
    folders.append(write(tmp_path / "d-seed0", value=0.1))
    quality, cost = markdown(read_reports(folders)).split("\n\n")
    assert quality.splitlines()[0] == "|  | seeds | fvd_random | motion | untrained | ahead of | behind |"
    rows = {line.split(" | ")[0].strip("| "): line for line in quality.splitlines()}
    assert rows["a"] == "| a | 2 | 0.5 ± 0.14 | 1.1 | 20 | 4 of 6 | frames frozen, real held out |"
    assert rows["b"].endswith("| 3 of 6 | **mean frame frozen**, frames frozen, real held out |")
    assert "| 0.175 ± 0.11 | 1.1 | 13 ± 1.4 | 5 of 6 | frames frozen |" in rows["c"]  # the worst of its runs speaks
    assert rows["d"].endswith("| 20 | 6 of 6 | none |")
    assert rows["*frames frozen*"].startswith("| *frames frozen* |  | 0.15 | 0 |")
    assert "*untrained*" not in rows  # it is every run's own
    assert "| a | 100 | 50 | 400 | 4 | 1,000 / 900 |" in cost
    assert "| yes |" not in quality and "x |" not in quality


def test_a_tie_with_a_control_is_not_ahead_of_it(tmp_path):
    text = markdown(read_reports([write(tmp_path / "a-seed0", value=3.0)]))
    assert "| 2 of 6 | **mean frame frozen**, **one clip repeated**, frames frozen, real held out |" in text


def test_untrained_of_an_older_report_is_not_shown(tmp_path):
    """It was measured with BatchNorm's initial statistics, the generator with its own."""
    report = copy.deepcopy({k: v for k, v in REPORT.items() if k != "config_hash"})
    (tmp_path / "old-seed0").mkdir()
    (tmp_path / "old-seed0" / "report.json").write_text(json.dumps(report))
    text = markdown(read_reports([tmp_path / "old-seed0"]))
    assert "| 0.5 | 1.1 | n/a | 3 of 5 | frames frozen, real held out |" in text


def translation(folder, a2b, b2a, gain=1.5):
    report = copy.deepcopy({k: v for k, v in REPORT.items() if k != "controls"})  # those stand under each direction
    protocol = {"metric": "fvd_random", "n_fake": 64}
    values = {"a2b": a2b, "b2a": b2a}
    report["metrics"] = {f"fvd_random_{d}": {"value": v, "floor": 0.1, "protocol": protocol} for d, v in values.items()}
    controls = {"identity": {"fvd_random": 5.0}, "oracle": {"fvd_random": 0.2}}
    report["directions"] = {d: {"psnr_gain": gain, "ssim_gain": None, "controls": controls} for d in values}
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_table_of_translations(tmp_path):
    """Against the untouched source in every direction; generators do not mix with them."""
    folders = [translation(tmp_path / "a-seed0", 1.0, 2.0), translation(tmp_path / "b-seed0", 1.0, 6.0, gain=-2.0)]
    text = markdown(read_reports(folders))
    quality, cost = text.split("\n\n")
    rows = {line.split(" | ")[0].strip("| "): line for line in quality.splitlines()}
    assert "fvd_random_a2b | fvd_random_b2a | psnr_gain_a2b | psnr_gain_b2a | ahead of | behind |" in rows[""]
    assert "| 1 | 2 | 1.5 | 1.5 | 1 of 2 | oracle |" in rows["a"]
    assert "| 1 | 6 | -2 | -2 | 0 of 2 | **identity**, oracle |" in rows["b"]  # one direction is enough
    assert "| a | 100 | 50 |" in cost
    assert rows["*identity*"].startswith("| *identity* |  | 5 | 5 |") and "| 0.2 | 0.2 |" in rows["*oracle*"]
    with pytest.raises(UsageError, match="one kind"):
        markdown(read_reports([*folders, write(tmp_path / "c-seed0")]))


def test_other_protocols_are_refused(tmp_path):
    folders = [write(tmp_path / "a-seed0"), write(tmp_path / "b-seed0", n_fake=128)]
    with pytest.raises(UsageError, match="n_fake"):
        read_reports(folders)


def test_experiments_in_folders(tmp_path):
    """The folder is part of the name: `dcgan` and `ablations/dcgan` are two rows."""
    (tmp_path / "ablations").mkdir()
    folders = [write(tmp_path / "dcgan-seed0", value=0.5), write(tmp_path / "ablations" / "dcgan-seed0", value=0.7)]
    assert list(read_reports(folders, tmp_path)) == ["dcgan", "ablations/dcgan"]
    text = markdown(read_reports(folders, tmp_path))
    assert "| dcgan | 1 | 0.5 |" in text and "| ablations/dcgan | 1 | 0.7 |" in text
    assert list(read_reports(folders[1:])) == ["dcgan"]


def test_unfinished_runs_are_named(tmp_path):
    (tmp_path / "a-seed0").mkdir()
    with pytest.raises(RunError, match="a-seed0"):
        read_reports([tmp_path / "a-seed0"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": 3}'])
def test_a_damaged_report_is_named(tmp_path, text):
    (tmp_path / "a-seed0").mkdir()
    (tmp_path / "a-seed0" / "report.json").write_text(text)
    with pytest.raises(RunError, match="a-seed0/report.json"):
        read_reports([tmp_path / "a-seed0"])
