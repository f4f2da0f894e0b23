"""Shipped results: the tables of the documentation are made of them, by one command, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidiff.bench import formats
from vidiff.bench.definition import load
from vidiff.bench.rows import MADE, read_config, read_rows
from vidiff.bench.table import MOST_COLUMNS, tables
from vidiff.metrics.protocol import protocol_hash
from vidiff.paths import experiments_dir
from vidiff.training.run import config_hash

RESULTS = sorted((experiments_dir() / "benchmarks" / "results").glob("*.jsonl"))
PAGES = [Path(__file__).parents[2] / name for name in ("docs/results.md", "README.md")]


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_rows_hold_what_traces_them(path):
    rows = read_rows([path])
    benchmark = load(experiments_dir() / "benchmarks" / f"{path.stem}.yaml")
    for row in rows:
        assert config_hash(read_config(path, row["config_hash"])) == row["config_hash"]
        assert row["benchmark"] == path.stem and row["family"] in benchmark.runs and row["seed"] in benchmark.seeds
        assert all(row[key] is not None for key in MADE) and row["protocol_hash"] == protocol_hash(row["protocol"])
        assert "+changed" not in row["git_commit"] and row["hardware"]["cpu"] and row["cost"]["clips_seen"] > 0
        assert not re.search(r"/(root|home|tmp|work)/", str(row))
    assert all(len(table.head) <= MOST_COLUMNS for table in tables(rows))


def shown(page: Path, path: Path) -> list[str]:
    """What stands between the marks of a file of results on a page."""
    mark = re.escape(f"vidiff bench table experiments/benchmarks/results/{path.name}")
    pattern = rf"^<!-- {mark}(?:: one of its tables)? -->\n\n(.*?)\n<!-- end -->$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_pages_show_the_tables_of_the_shipped_rows(path):
    """`vidiff bench table experiments/benchmarks/results/NAME.jsonl` prints what stands between two marks of a page; of
    the README, that one of these tables."""
    made = formats.markdown(tables(read_rows([path])))
    assert shown(PAGES[0], path) == [made]
    assert all(block in made for block in shown(PAGES[1], path))


def test_the_readme_shows_a_shipped_table():
    assert any(shown(PAGES[1], path) for path in RESULTS)


def test_the_csv_beside_them_is_of_the_same_rows():
    for path in RESULTS:
        assert path.with_suffix(".csv").read_text(encoding="utf-8") == formats.csv(read_rows([path]))
