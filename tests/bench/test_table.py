"""Tables of rows: intervals over seeds, worst seeds, controls, tests; protocols are never mixed."""

from __future__ import annotations

import csv
import io
import re

import pytest
from helpers import rng
from reports import row

from vidiff.bench import formats
from vidiff.bench.table import MOST_COLUMNS, check_rows, tables
from vidiff.errors import UsageError


def rows_of(seeds=3, gap=1.0):
    values = rng(5).standard_normal((3, seeds)) * 0.02
    means = {"bad": 0.5 + gap, "good": 0.2, "middle": 0.4}
    rows = []
    for i, (family, mean) in enumerate(means.items()):
        for seed in range(seeds):
            rows.append(row(family, seed, mean + values[i, seed]))
            rows.append(row(family, seed, 1.1 + 0.1 * seed, "motion", floor=1.0, controls={"grey_noise": 9.0}))
    return rows


def lines(table):
    return {cells[0].text: [cell.text for cell in cells] for cells in table.rows}


def test_mean_interval_worst_seed_floor_and_controls():
    quality, cost, compared = tables(rows_of())
    found = lines(quality)
    assert quality.head == ["", "seeds", "fvd_random", "worst", "motion", "behind"]
    assert list(found)[:3] == ["good", "middle", "bad"]  # best first
    values = sorted(r["value"] for r in rows_of() if r["family"] == "good" and r["metric"] == "fvd_random")
    mean, low, high = map(float, re.findall(r"[\d.]+", found["good"][2]))
    assert low < values[0] and high > values[-1] and mean == pytest.approx(sum(values) / 3, rel=5e-3)
    assert float(found["good"][3]) == pytest.approx(values[-1], rel=5e-3)
    assert found["good"][4] == "1.2 [0.952, 1.45]"
    assert found["good"][5] == "frames frozen"
    assert found["*real against real*"] == ["*real against real*", "", "0.01", "", "1", ""]
    assert found["*grey noise*"][2] == "30" and found["*frames frozen*"][2] == "0.15"
    assert lines(cost)["good"] == ["good", "100", "0", "4,000", "4", "512", "1,000 / 900"]
    assert "standard error" in quality.notes and "0123456789ab" in quality.notes and "a processor" in quality.notes
    for table in (quality, cost, compared):
        assert len(table.head) <= MOST_COLUMNS and {len(cells) for cells in table.rows} == {len(table.head)}


def test_every_cell_traces_to_its_runs():
    quality, cost, _ = tables(rows_of())
    for cells in (*quality.rows[:3], *cost.rows):
        for cell in cells[2:]:
            assert cell.runs and all(run.startswith(cells[0].text) for run in cell.runs)
    assert len(quality.rows[0][2].runs) == 3 and len(quality.rows[0][3].runs) == 1


def test_no_winner_with_three_seeds_and_one_with_nine():
    for seeds, bold in ((3, False), (9, True)):
        quality, _, compared = tables(rows_of(seeds))
        assert quality.rows[0][0].bold is bold and quality.rows[0][2].bold is bold
        assert not any(cell.bold for cells in quality.rows[1:] for cell in cells)
        assert ("No family is ahead" in compared.notes) is not bold
        p = lines(compared)["middle"][5]
        assert p == ("0.25 (0.75)" if seeds == 3 else "0.0039 (0.012)")
    assert lines(tables(rows_of(3))[2])["middle"][6] == "7"  # pairs that the test needs


def test_what_is_rubbish_is_named_loudly():
    rows = [row("dcgan", 0, 31.0)]
    assert tables(rows)[0].rows[0][-1].text == "GREY NOISE, frames frozen"
    assert len(tables(rows)) == 2  # one family: nothing to compare


def test_protocols_are_never_mixed():
    rows = [row("a", 0, 0.5), row("b", 0, 0.6, protocol={"n_fake": 64})]
    with pytest.raises(UsageError, match="n_fake: 256 against 64"):
        tables(rows)
    with pytest.raises(UsageError, match="two results of fvd_random for a, seed 0"):
        check_rows([row("a", 0, 0.5), row("a", 0, 0.7, config_hash="another")])
    with pytest.raises(UsageError, match="no results"):
        tables([])
    with pytest.raises(UsageError, match="no result of 'fid'; there are: fvd_random"):
        tables([row("a", 0, 0.5)], ["fid"])


def test_sets_have_tables_of_their_own():
    rows = [row("a", 0, 0.5), row("a", 0, 0.7, data_set="weizmann", protocol={"dataset": "w"})]
    assert [t.title.split(":")[0] for t in tables(rows)] == ["shapes", "shapes", "weizmann", "weizmann"]


def test_directions_of_a_translation_lead_together():
    rows = []
    for family, a2b, b2a in (("a", 1.0, 2.0), ("b", 1.0, 6.0)):
        for d, value in (("a2b", a2b), ("b2a", b2a)):
            rows.append(row(family, 0, value, f"fvd_random_{d}", controls={"identity": 5.0, "oracle": 0.2}))
            rows.append(row(family, 0, 10.0, f"psnr_gain_{d}", controls={}))
    there, back, _, compared = tables(rows)
    assert there.head == back.head == ["", "seeds", "fvd_random", "worst", "psnr_gain", "behind"]
    assert [t.title for t in (there, back)] == ["shapes, a2b: how good", "shapes, b2a: how good"]
    assert lines(there)["b"][-1] == "oracle" and lines(back)["b"][-1] == "IDENTITY, oracle"
    assert lines(there)["a"][2] == "1" and lines(back)["b"][2] == "6"
    assert lines(compared)["b"][2] == "-2"  # of the means over directions
    assert lines(there)["*identity*"][2] == "5"
    assert tables(rows, ["psnr_gain"])[0].head == tables(rows, ["psnr_gain_a2b"])[0].head == there.head


def test_what_was_trained_against_is_grey_and_decides_nothing():
    why = "the model was trained against this network"
    rows = [row("a", seed, 0.1, leak=why) for seed in range(3)] + [row("b", seed, 0.4) for seed in range(3)]
    made = tables(rows)
    assert len(made) == 2 and not any(cell.bold for cells in made[0].rows for cell in cells)  # nothing to compare
    cell = made[0].rows[0][2]
    assert cell.leak and cell.text == "(0.1 [0.1, 0.1]) †" and f"† fvd_random of a: {why}." in made[0].notes
    assert not made[0].rows[1][2].leak
    assert '<td title="a-seed0, a-seed1, a-seed2" class="leak">' in formats.html(made)
    assert "(0.1 [0.1, 0.1]) †" in formats.markdown(made) and "(0.1" in formats.tex(made)


def test_markdown_and_html_hold_the_same_cells():
    made = tables(rows_of(9))
    text, page = formats.markdown(made), formats.html(made)
    assert "| **good** | 9 |" in text and "*frames frozen*" in text
    assert '<th scope="row"><strong>good</strong></th>' in page and 'title="good-seed0, good-seed1' in page
    for cell in (c for t in made for r in t.rows for c in r if c.text and "*" not in c.text):
        assert cell.text in text and cell.text in page
    evil = formats.html(tables([row("<script>", 0, 0.5)]))
    assert "<script>" not in evil


def test_tex_is_escaped_and_complete():
    text = formats.tex(tables([row("videogan_lstm", 0, 0.5), row("50%", 0, 0.6)]))
    assert r"videogan\_lstm & 1 & 0.5" in text and r"50\%" in text and r"\textit{grey noise}" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert {line.count(" & ") for line in body if "fvd" in line or "grey" in line} == {4}


def test_csv_holds_every_metric_and_its_runs():
    rows = list(csv.reader(io.StringIO(formats.csv(rows_of()))))
    head, body = rows[0], [dict(zip(rows[0], r)) for r in rows[1:7]]
    assert "runs" in head and len(body) == 6
    good = next(r for r in body if r["family"] == "good" and r["metric"] == "fvd_random")
    values = [float(v) for v in good["values"].split()]
    assert good["runs"].split() == ["good-seed0", "good-seed1", "good-seed2"] and len(values) == 3
    assert float(good["mean"]) == pytest.approx(sum(values) / 3) and float(good["worst"]) == max(values)
    assert good["config_hashes"].split() and good["commits"] == "0123456789abcdef"
    tests = rows[8:]
    assert tests[0][:4] == ["data_set", "a", "b", "difference"] and len(tests) == 4
