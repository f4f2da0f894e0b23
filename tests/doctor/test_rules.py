"""Each rule on both sides of its thresholds, on small curves made by hand; and what a run without records is told."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from vidiff.doctor import Finding, diagnose
from vidiff.doctor import thresholds as t
from vidiff.doctor.evidence import Curve, Evidence
from vidiff.doctor.examine import RULES, WORDS
from vidiff.paths import experiments_dir


def curve(*values: float, last: int = 400, start: int | None = None) -> Curve:
    """These values at even distances up to the last step."""
    n = len(values)
    return Curve(tuple(round(last * (i + 1) / n) for i in range(n)), tuple(map(float, values)))


def line(first: float, end: float, n: int = 40) -> Curve:
    """A straight course."""
    return curve(*(first + (end - first) * i / (n - 1) for i in range(n)))


FVD = {"value": 4.0, "floor": 0.5, "low_n": False, "protocol": {"n_real": 256, "n_fake": 256, "extractor": "rand3d"}}
HEALTHY = Evidence(
    curves={
        "train/g_total": line(1.0, 1.4),
        "train/d_total": line(1.4, 1.2),
        "train/g_grad_norm": line(3.0, 5.0),
        "train/d_grad_norm": line(3.0, 5.0),
        "train/g_weight_norm": line(7.0, 9.0),
        "train/d_weight_norm": line(5.0, 6.0),
        "train/lr_g": line(2e-4, 2e-4),
        "train/d_separation": line(0.7, 0.8),
        "train/d_real_logit": line(0.5, 1.0),
        "train/d_fake_logit": line(-0.5, -1.0),
        "val/fvd_random": curve(20, 10, 6, 4.2, 4.1, 4.0, 4.05, 4.0),
        "val/motion": curve(2, 1.5, 1.3, 1.2, 1.1, 1.1, 1.1, 1.1),
        "val/diversity": curve(0.2, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8),
        "val/flicker": curve(3, 2, 1.5, 1.3, 1.3, 1.3, 1.3, 1.3),
        "val/grid": curve(3, 2, 1.5, 1.3, 1.3, 1.3, 1.3, 1.3),
        "val/d_train_above_held_out": curve(0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6),
        "val/d_train_above_generated": curve(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9),
        "time/data_wait_frac": line(0.5, 0.05),
        "time/clips_per_s": line(50, 50),
    },
    report={"metrics": {"fvd_random": FVD, "nearest": {"value": 0.2}}, "controls": {"real_held_out": {"nearest": 0.2}}},
)
TRANSLATION = Evidence(
    curves={
        **{k: c for k, c in HEALTHY.curves.items() if k.split("/")[0] in ("train", "time")},
        "val/fvd_random": HEALTHY.curves["val/fvd_random"],
        **{f"test/{name}_{d}": curve(0.1, value) for d in ("a2b", "b2a") for name, value in
           dict(psnr_gain=6.0, change=0.9, grid_ratio=1.1, flicker_ratio=1.2).items()},
    }
)  # fmt: skip


def having(evidence: Evidence, **curves: Curve | None) -> Evidence:
    """The evidence with other curves, `val__motion` for `val/motion`; None takes one away."""
    changed = evidence.curves | {name.replace("__", "/"): c for name, c in curves.items()}
    return replace(evidence, curves={name: c for name, c in changed.items() if c is not None})


def said(evidence: Evidence) -> list[str]:
    return [f.kind for f in diagnose(evidence).findings]


def test_a_healthy_run_is_fine():
    for evidence in (HEALTHY, TRANSLATION):
        (finding,) = diagnose(evidence).findings
        assert (finding.kind, finding.level) == ("fine", "good")
    assert set(diagnose(HEALTHY).unjudged) == {"copy"}


THRESHOLDS = [  # kind, what tips it over, what is just on this side
    ("diverged", dict(train__d_total=curve(*[1.0] * 30, math.nan)), dict(train__d_total=curve(*[1.0] * 31))),
    ("diverged", dict(train__g_grad_norm=curve(*[3] * 20, *[4e3] * 20)), dict(train__g_grad_norm=line(3, 900))),
    ("diverged", dict(train__g_total=line(-8e10, -8e10)), dict(train__g_total=line(-8e4, -8e4))),
    ("diverged", dict(train__d_weight_norm=line(5, 200)), dict(train__d_weight_norm=line(5, 100))),
    ("still", dict(train__lr_g=line(0, 0)), dict(train__lr_g=line(2e-4, 0))),
    ("still", dict(train__g_grad_norm=line(1e-9, 1e-10)), dict(train__g_grad_norm=line(1e-3, 1e-4))),
    ("still", dict(train__g_weight_norm=line(7, 7)), dict(train__g_weight_norm=line(7, 7.001))),
    ("collapsed", dict(val__diversity=curve(0.5, 0.4, 0.1, 0.05)), dict(val__diversity=curve(0.05, 0.1, 0.2, 0.2))),
    ("memorizing", dict(val__d_train_above_held_out=curve(0.5, 0.7, 0.9, 0.95)),
     dict(val__d_train_above_held_out=curve(0.5, 0.7, 0.8, 0.8))),
    ("grid", dict(val__grid=curve(2, 3, 9, 9)), dict(val__grid=curve(9, 5, 2, 2))),
    ("flicker", dict(val__motion=curve(2, 4, 5, 5), val__flicker=curve(2, 4, 7, 7)),
     dict(val__motion=curve(2, 4, 5, 5), val__flicker=curve(2, 3, 2, 2))),
    ("flicker", dict(val__motion=curve(2, 4, 6, 6), val__flicker=None),
     dict(val__motion=curve(2, 3, 4.5, 4.5), val__flicker=None)),
    ("starved", dict(time__data_wait_frac=line(0.6, 0.7)), dict(time__data_wait_frac=line(0.5, 0.02))),
]  # fmt: skip


@pytest.mark.parametrize("kind, over, under", THRESHOLDS)
def test_thresholds_have_two_sides(kind, over, under):
    assert diagnose(having(HEALTHY, **over)).findings[0].kind == kind
    assert said(having(HEALTHY, **under)) == ["fine"]


def test_values_that_never_change_mean_that_g_stands_still():
    same = {f"val__{name}": curve(*[value] * 6) for name, value in dict(fvd_random=30, motion=2, diversity=0.3).items()}
    assert said(having(HEALTHY, **same))[0] == "still"
    assert "still" not in said(having(HEALTHY, **same | {"val__motion": curve(2, 2, 2, 2, 2, 2.1)}))


WON = dict(
    train__d_separation=line(0.95, 1.0),
    train__d_real_logit=line(1, 9),
    train__d_fake_logit=line(-1, -9),
    val__fvd_random=curve(20, 18, 17, 17.5, 18, 19, 19, 20),
)


def test_d_has_won_where_it_is_right_the_gap_grows_and_g_does_not_get_better():
    assert said(having(HEALTHY, **WON)) == ["d_won"]
    for one in (
        dict(train__d_separation=line(0.9, 0.96)),  # not always right
        dict(train__d_real_logit=line(3, 3), train__d_fake_logit=line(-3, -3)),  # the gap stays
        dict(val__fvd_random=curve(20, 18, 17, 15, 12, 10, 9.9, 9.8)),  # G learns
    ):
        assert "d_won" not in said(having(HEALTHY, **WON | one))


def test_a_translation_that_stayed_a_copy():
    copied = having(TRANSLATION, test__psnr_gain_a2b=curve(0, 0.3), test__change_a2b=curve(0, 0.05))
    first = diagnose(copied).findings[0]
    assert first.kind == "copy" and "a2b" in first.title and "b2a" not in first.title
    # Where the truth is not known, the distance decides, and the classifier can acquit.
    bare = having(TRANSLATION, test__psnr_gain_a2b=None, test__psnr_gain_b2a=None)
    assert said(bare) == ["fine"]
    bare = having(bare, test__change_a2b=curve(0, 0.1))
    assert said(bare)[0] == "copy"
    taken = {"directions": {"a2b": {"target_accuracy": 0.9}, "b2a": {"target_accuracy": 0.9}}}
    assert said(replace(bare, report=taken)) == ["fine"]
    # Neither is a translation that went wrong a copy.
    assert said(having(TRANSLATION, test__psnr_gain_a2b=curve(0, -4.0))) == ["fine"]


@pytest.mark.parametrize("name, kind", [("grid_ratio", "grid"), ("flicker_ratio", "flicker")])
def test_the_worst_direction_of_a_translation_speaks(name, kind):
    assert said(having(TRANSLATION, **{f"test__{name}_b2a": curve(1, 9)}))[0] == kind


def reporting(**changes) -> Evidence:
    metric = FVD | {k: v for k, v in changes.items() if k in FVD}
    if "clips" in changes:
        metric = metric | {"protocol": FVD["protocol"] | {"n_real": changes["clips"]}, "low_n": changes["clips"] < 112}
    return replace(HEALTHY, report=HEALTHY.report | {"metrics": HEALTHY.report["metrics"] | {"fvd_random": metric}})


def test_too_few_clips_for_the_measure():
    finding = diagnose(reporting(clips=16, floor=2.0)).findings[0]
    assert finding.kind == "few_clips" and finding.level == "bad" and "112" in finding.evidence
    assert said(reporting(clips=16, floor=0.7)) == ["fine"]  # the floor is small against it
    assert diagnose(reporting(clips=64, floor=3.0)).findings[0].level == "note"
    assert said(reporting(clips=256, floor=3.0)) == ["fine"]  # near its floor, because it is good


def test_generated_clips_nearer_than_real_ones_are_remembered():
    report = HEALTHY.report | {"metrics": HEALTHY.report["metrics"] | {"nearest": {"value": 0.1}}}
    assert said(replace(HEALTHY, report=report))[0] == "memorizing"


def test_what_still_falls_at_the_end_is_a_note():
    falling = having(HEALTHY, val__fvd_random=curve(20, 18, 16, 14, 12, 10, 8, 6))
    assert [(f.kind, f.level) for f in diagnose(falling).findings] == [("improving", "note"), ("fine", "good")]
    assert said(having(HEALTHY, val__fvd_random=curve(20, 18, 16, 14, 12, 10, 6, 8))) == ["fine"]  # it turned up


def test_flicker_that_goes_away_is_a_note():
    levels = []
    for first in (20, 8):
        shaking = having(HEALTHY, val__motion=curve(9, 8, 7, 6), val__flicker=curve(first, 9, 8, 7))
        levels += [f.level for f in diagnose(shaking).findings if f.kind == "flicker"]
    assert levels == ["note", "bad"]


def test_a_guard_that_stopped_the_run_is_the_diagnosis():
    stopped = replace(HEALTHY, stopped={"step": 7, "error": "training diverged: g_adv=nan is not finite"})
    (finding,) = diagnose(stopped).findings
    assert finding.kind == "diverged" and "g_adv=nan" in finding.evidence
    assert said(replace(HEALTHY, stopped={"step": 7, "error": "the disk is full"})) == ["fine"]


def test_a_run_of_a_few_steps_is_not_judged():
    short = Evidence(
        {name: curve(*c.values, last=t.LEAST_STEPS - 1) for name, c in having(HEALTHY, **WON).curves.items()}
    )
    assert said(short) == ["fine"] and "d_won" in diagnose(short).unjudged


def test_nothing_recorded_is_nothing_judged():
    diagnosis = diagnose(Evidence())
    assert set(diagnosis.unjudged) == set(RULES) and [f.kind for f in diagnosis.findings] == ["fine"]
    assert "Nothing can be said" in diagnosis.findings[0].title


def test_a_report_of_another_make_is_no_crash():
    odd = replace(
        HEALTHY,
        report={"metrics": {"fvd_random": {"value": "much", "floor": 3, "low_n": True, "protocol": []}}, "controls": 5},
    )
    assert {"few_clips", "memorizing"} <= set(diagnose(odd).unjudged)


def bad_findings() -> list[Finding]:
    found = [diagnose(having(HEALTHY, **over)).findings[0] for _, over, _ in THRESHOLDS]
    found += diagnose(having(HEALTHY, **WON)).findings[:1] + diagnose(reporting(clips=16, floor=2.0)).findings[:1]
    return (
        found + diagnose(having(TRANSLATION, test__psnr_gain_a2b=curve(0, 0.3), test__change_a2b=curve(0, 0))).findings
    )


def test_files_that_an_advice_names_are_shipped():
    found = bad_findings()
    assert {f.kind for f in found} == set(RULES) - {"improving"} == set(WORDS) - {"improving"}
    named = {name for f in found for name in re.findall(r"experiments/[\w/]+\.yaml", f.advice)}
    assert len(named) > 8 and all((experiments_dir().parent / name).is_file() for name in named)
