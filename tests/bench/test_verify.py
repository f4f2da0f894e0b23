"""A row that is trained again: to the last bit here, near it elsewhere; what is something else is refused."""

from __future__ import annotations

import pytest
from reports import row

from vidiff.bench import verify as module
from vidiff.bench.definition import load
from vidiff.bench.missing import run_missing
from vidiff.bench.rows import write_rows
from vidiff.bench.verify import report, verify
from vidiff.errors import RunError, UsageError
from vidiff.files import write_json

TINY = """
runs: [dcgan]
budget: {clips: 16}
overlay:
  trainer: {max_steps: 1000, accelerator: cpu}
  data: {init_args: {root: ROOT, num_frames: 4, resolution: 16, batch_size: 4, num_workers: 0, cache: none}}
  model: {init_args: {width: 4}}
  evaluation: {every_n_steps: 2, num_clips: 8, metrics: "fvd_random,motion"}
"""


@pytest.fixture
def again(monkeypatch, tmp_path):
    """Verifies a made-up row against what a run that is not run would give."""

    def run(before, now, tolerance=0.5):
        write_rows(tmp_path / "results.jsonl", [before])
        write_json(tmp_path / "results.configs.json", {before["config_hash"]: "seed_everything: 0\n"})
        monkeypatch.setattr(module, "train", lambda run: 0)
        monkeypatch.setattr(module, "rows_of", lambda run: [now])
        return verify(tmp_path / "results.jsonl", "a-seed0", tmp_path / "again", tolerance)

    return run


def test_bits_on_the_same_processor(again):
    same = again(row("a", 0, 0.5), row("a", 0, 0.5))
    assert same.differs == [] and same.checks[0].holds and "equal to the last bit" in report(same)
    assert not again(row("a", 0, 0.5), row("a", 0, 0.5 + 1e-16 * 2)).checks[0].holds


def test_a_tolerance_on_another(again):
    other = {"cpu": "another", "gpu": None, "machine": "x86_64", "threads": 1}
    for value, holds in ((0.64, True), (1.1, False)):
        found = again(row("a", 0, 0.48), row("a", 0, value, hardware=other))
        assert found.differs == ["cpu: a processor then, another now"] and found.checks[0].holds is holds
    assert "within 50%" in report(found) and "NO" in report(found)
    newer = again(row("a", 0, 0.48), row("a", 0, 0.5, versions={"torch": "3"}))
    assert newer.differs == ["torch: 2 then, 3 now"]


def test_what_is_something_else_is_refused(again):
    with pytest.raises(UsageError, match="other videos"):
        again(row("a", 0, 0.5), row("a", 0, 0.5, data="others"))
    with pytest.raises(UsageError, match="measured differently"):
        again(row("a", 0, 0.5), row("a", 0, 0.5, protocol={"n_fake": 8}))


def test_rows_and_configurations_that_are_not_there(tmp_path):
    path = tmp_path / "results.jsonl"
    write_rows(path, [row("a", 0, 0.5)])
    with pytest.raises(UsageError, match="unknown run 'b-seed0'"):
        verify(path, "b-seed0", tmp_path / "again", 0.5)
    with pytest.raises(UsageError, match="its configuration, hash of a, is not beside"):
        verify(tmp_path, "a-seed0", tmp_path / "again", 0.5)


def test_a_budget_of_time_becomes_one_of_clips(tmp_path):
    run = module._again(row("a", 0, 0.5), "budget_cpu_s: 240.0\n", tmp_path / "again")
    assert (tmp_path / "again.yaml").read_text() == "budget_cpu_s: 240.0\n"
    words = run.arguments
    assert words[words.index("--budget_cpu_s") + 1] == "null" and words[-2:] == ["--budget_clips", "4000"]


@pytest.mark.slow
def test_a_real_row_is_repeated_to_the_last_bit(shapes, tmp_path):
    """A budget of time ends where the clock says; the repetition ends at the same clip."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("ROOT", str(shapes)).replace("clips: 16", "cpu_seconds: 0.5"))
    run_missing(load(path), tmp_path / "out", name="tiny")
    found = verify(tmp_path / "out", "dcgan-seed0", tmp_path / "again", 0.5)
    assert found.differs == [] and len(found.checks) >= 2 and all(check.holds for check in found.checks)


def test_a_run_that_fails_is_an_error(tmp_path, monkeypatch):
    write_rows(tmp_path / "results.jsonl", [row("a", 0, 0.5)])
    write_json(tmp_path / "results.configs.json", {"hash of a": ""})
    monkeypatch.setattr(module, "train", lambda run: 1)
    with pytest.raises(RunError, match="a-seed0 failed"):
        verify(tmp_path, "a-seed0", tmp_path / "again", 0.5)
