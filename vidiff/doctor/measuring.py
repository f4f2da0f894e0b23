"""Rules about the run around the game: starved of data, too few clips to measure, still improving."""

from __future__ import annotations

from typing import Any

from vidiff.doctor import thresholds as t
from vidiff.doctor.evidence import Curve, Evidence
from vidiff.doctor.finding import CannotJudge, Finding
from vidiff.doctor.game import lead_of, number


def starved(e: Evidence) -> Finding | None:
    """The model waits for its data."""
    curve = e.curve("time/data_wait_frac")
    e.long_enough()
    late = curve.between(0.5)
    if len(late) < 4:
        raise CannotJudge(f"the speed was logged {len(late)} times in the second half of the run, 4 are needed")
    share = late.quantile(0.25)  # rows with an evaluation in them count it as waiting in older runs
    if share < t.SOME_WAITING:
        return None
    speed = e.curves.get("time/clips_per_s", Curve((), ())).between(0.5)
    words = f"{share:.0%} of the time and more goes into waiting for data (in the second half of the run"
    words += f", at {number(speed.median)} clips/s)." if len(speed) else ")."
    advice = {"none": "keep decoded frames: --data.cache disk or ram", "disk": "keep decoded frames: --data.cache ram"}
    parts = [advice[cache]] if (cache := e.setting("data", "cache")) in advice else []
    workers = e.setting("data", "num_workers")
    if isinstance(workers, int):
        parts.append(f"decode in more processes: --data.num_workers {max(2, 2 * workers)}")
    parts.append("store the videos at the size that is trained (`vidiff bench data` measures each part)")
    text = "; ".join(parts)
    level = "bad" if share >= t.MOSTLY_WAITING else "note"
    return Finding("starved", "The training is starved of data.", words, f"{text[0].upper()}{text[1:]}.", level)


def few_clips(e: Evidence) -> Finding | None:
    """A distance between features of many dimensions is mostly what so few clips make of it."""
    if not e.report or not e.report.get("metrics"):
        raise CannotJudge("there is no report with measures and their floors yet")
    found = {k: r for k, r in e.report["metrics"].items() if r.get("low_n") and _dimensions(r)}
    if not found:
        return None
    name, result = max(found.items(), key=lambda item: _floor_share(item[1]))
    clips = min(result["protocol"]["n_real"], result["protocol"]["n_fake"])
    share, dim = _floor_share(result), _dimensions(result)
    if clips < t.FEW * dim and share > t.FLOOR_SHARE:
        level = "bad"
    elif share > t.FLOOR_RULES:
        level = "note"
    else:
        return None
    return Finding(
        "few_clips",
        f"{clips} clips are too few for {name}.",
        f"The features have {dim} dimensions, and {name} is {number(result['value'])} where real against real is "
        f"{number(result['floor'])} at as many clips.",
        f"Measure on more: --evaluation.num_clips {max(256, 2 * dim)} (`vidiff validate` and `vidiff test` measure a "
        "finished checkpoint again); with few videos go by motion, diversity and the samples instead.",
        level,
    )


DIMENSIONS = {"rand3d": 112, "lite0_112_p128": 128, "i3d": 400, "inception_clean": 2048, "inception_legacy": 2048}


def _dimensions(result: dict[str, Any]) -> int:
    """Of the features that a distance is between; 0 where its floor does not depend on them."""
    return DIMENSIONS.get(result["protocol"].get("extractor"), 0)


def _floor_share(result: dict[str, Any]) -> float:
    """The share of a value that its floor makes up; 0 where one is not known."""
    value, floor = result.get("value"), result.get("floor")
    return floor / value if value and floor else 0.0


def improving(e: Evidence) -> Finding | None:
    """The leading measure still falls at the end."""
    name = lead_of(e)
    curve = e.evaluated(name)
    last = curve.between(2 / 3)
    if len(last) < 2 or len(curve) < t.LEAST_EVALUATIONS + 1:
        raise CannotJudge(f"{name} was evaluated {len(curve)} times, {len(last)} of them in the last third of the run")
    fall = -slope(last) * e.step / 3 / max(last.mean, 1e-12)
    if fall < t.STILL_FALLS or curve.values[-1] > min(curve.values) * 1.02:
        return None
    return Finding(
        "improving",
        "The run was still improving when it ended.",
        f"{name} fell by {fall:.0%} over the last third of the run and is lowest at its end "
        f"({number(curve.values[-1])} at step {curve.steps[-1]}).",
        f"Train longer: `vidiff fit` as before, with --ckpt_path last --trainer.max_steps {2 * e.step} and the same "
        "--run_dir, continues it; a rate that falls then falls over the new length.",
        "note",
    )


def slope(curve: Curve) -> float:
    """Least squares: change of the value a step."""
    x = sum(curve.steps) / len(curve)
    y = curve.mean
    below = sum((s - x) ** 2 for s in curve.steps)
    return sum((s - x) * (v - y) for s, v in zip(curve.steps, curve.values)) / below if below else 0.0
