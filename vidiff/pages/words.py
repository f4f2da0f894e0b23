"""Numbers and runs in words."""

from __future__ import annotations

import math
from typing import Any

from vidiff.metrics.controls import Control, compared, lead_of, standing
from vidiff.pages.folder import Recorded, dictionary


def number(value: Any) -> str:
    """Four digits of a number; `n/a` where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "n/a"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def count(value: Any) -> str:
    """A whole number with separators."""
    return f"{value:,}" if isinstance(value, int) else number(value)


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def family(run: Recorded) -> str:
    """The class of the model."""
    named = run.report.get("model") or run.about.get("model") or run.setting("model", "class_path") or "A model"
    return str(named).rpartition(".")[2]


def data_set(run: Recorded) -> str:
    """The name of what was trained on."""
    root = run.setting("data", "init_args", "root")
    return str(run.data.get("dataset") or (str(root).rstrip("/").rpartition("/")[2] if root else "the embedded set"))


def clip_size(run: Recorded) -> str:
    """`16 frames of 32 x 32 pixels`."""
    sizes = dictionary(run.setting("data", "init_args")) | run.data
    frames, side = sizes.get("num_frames"), sizes.get("resolution")
    return f"{frames} frame{'' if frames == 1 else 's'} of {side} × {side} pixels" if frames and side else ""


def videos(run: Recorded) -> str:
    """How many videos there were to train on; of domains, each with its own."""
    found = dictionary(run.data.get("videos")).get("train")
    domains = dictionary(dictionary(run.data.get("domains")).get("train"))
    if domains:
        return " and ".join(f"{count(n)} of {name}" for name, n in domains.items())
    return count(found) if found else ""


def device(run: Recorded) -> str:
    """What it ran on, as the last of its sessions had it."""
    if not run.sessions or not run.sessions[-1].get("device"):
        return ""
    processes = run.sessions[-1].get("processes", 1)
    return f"{run.sessions[-1]['device']}{f', {processes} processes' if processes != 1 else ''}"


def clock(run: Recorded) -> float | None:
    """Seconds on the clock of all sessions; None where one of them did not come to its end."""
    seconds = [s.get("seconds") for s in run.sessions]
    return sum(seconds) if seconds and all(isinstance(s, int | float) for s in seconds) else None


def lead(run: Recorded) -> str:
    """What was trained on what, how long and where, in two sentences."""
    parameters = dictionary(run.report.get("parameters")) or dictionary(run.about.get("parameters"))
    sizes = " and ".join(f"{count(n)} ({player.upper()})" for player, n in parameters.items())
    text = f"{family(run)}{f' of {sizes} parameters' if sizes else ''}, trained on "
    text += f"{videos(run)} videos of {data_set(run)}" if videos(run) else data_set(run)
    text += f" in clips of {clip_size(run)}. " if clip_size(run) else ". "
    steps = f"{count(run.step)} generator step{'' if run.step == 1 else 's'}"
    seen = run.report.get("clips_seen")
    parts = [steps + (f" over {count(seen)} clips" if seen else "")]
    if isinstance(run.report.get("cpu_seconds"), int | float):
        parts.append(f"{duration(run.report['cpu_seconds'])} of CPU time")
    if (seconds := clock(run)) is not None:
        parts.append(f"{duration(seconds)} on the clock, evaluations included")
    if where := device(run):
        parts.append(f"on {where}")
    return text + ", ".join(parts) + "."


def verdict(run: Recorded) -> tuple[str, str, str]:
    """(good, bad or open; one or two words; the sentence) of how the run stands among the controls."""
    if not run.metrics and not run.directions:
        return "open", "Not finished", f"No report yet: this is the state at generator step {count(run.step)}."
    pairs = compared(run.report)
    ahead, behind = standing(pairs)
    lead = lead_of(run.metrics)
    value = ", ".join(number(v) for v, _ in pairs)
    if not ahead and not behind:
        return "open", "Not compared", "The report compares no controls."
    rubbish = [c.label for c in behind if c.shows == "rubbish"]
    if rubbish:
        return "bad", "Not learned yet", f"By {lead} ({value}) this model is {_behind(rubbish, run)}.{_extra(run)}"
    where = "in every direction " if len(pairs) > 1 else ""
    beaten = listed([_label(c, run) for c in ahead])
    left = f" Behind {listed([_label(c, run) for c in behind])}." if behind else " Behind nothing that was compared."
    kind, word = ("open", "Partly learned") if min(taken(run).values(), default=1.0) < 0.5 else ("good", "Learned")
    return kind, word, f"By {lead} ({value}) {where}ahead of {beaten}.{left}{_extra(run)}"


def _behind(labels: list[str], run: Recorded) -> str:
    if run.directions:
        return "in at least one direction no nearer to the target than the untouched source"
    return f"not ahead of {listed(labels)}, which every model has to be ahead of"


def _label(control: Control, run: Recorded) -> str:
    own = {"identity": "the untouched source", "oracle": "the true counterpart"}
    return own.get(control.name, control.label)


def taken(run: Recorded) -> dict[str, float]:
    """Of a translation: direction -> the share of its clips that a classifier takes for the target."""
    shares = {name: direction.get("target_accuracy") for name, direction in run.directions.items()}
    return {name: float(share) for name, share in shares.items() if isinstance(share, int | float)}


def _extra(run: Recorded) -> str:
    """What else a reader wants in one breath."""
    gains = {name: d.get("psnr_gain") for name, d in run.directions.items()}
    known = [
        f"{name} {gain:+.1f} dB".replace(" -", " −") for name, gain in gains.items() if isinstance(gain, int | float)
    ]
    text = f" PSNR against the source's own: {', '.join(known)}." if known else ""
    if shares := taken(run):
        text += f" Taken for the target: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}."
    named = dictionary(run.metrics.get("recognizable")).get("value")
    if isinstance(named, int | float):
        text += f" Shape and motion can be named in {named:.0%} of the clips."
    return text
