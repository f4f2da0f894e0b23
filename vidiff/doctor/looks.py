"""Rules about the clips: a translation that stayed a copy, flicker, the grid of layers that double the size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from vidiff.doctor import thresholds as t
from vidiff.doctor.evidence import Evidence
from vidiff.doctor.finding import CannotJudge, Finding
from vidiff.doctor.game import number


def directions(e: Evidence, name: str) -> dict[str, float]:
    """Direction -> the last value of `test/<name>_<direction>`, of the report where the curves have none."""
    prefix = f"test/{name}_"
    curves = {k.removeprefix(prefix): c.values[-1] for k, c in e.curves.items() if k.startswith(prefix) and len(c)}
    if name == "psnr":
        curves = {k: v for k, v in curves.items() if not k.startswith("gain_")}
    reported = {k: d[name] for k, d in ((e.report or {}).get("directions") or {}).items() if name in d}
    return curves or reported


def copy(e: Evidence) -> Finding | None:
    """The translation is its source, or nearly so."""
    if not e.translates:
        raise CannotJudge("it is no translation")
    e.long_enough()
    gains, changes = directions(e, "psnr_gain"), directions(e, "change")
    taken = directions(e, "target_accuracy")
    if not gains and not changes:
        raise CannotJudge("the run has recorded neither gains nor changes of its translations")
    copies = [name for name in gains or changes if _is_copy(gains.get(name), changes.get(name), taken.get(name))]
    if not copies:
        return None
    words = []
    for name in copies:
        parts = [f"{gains[name]:+.1f} dB over the untouched source"] if name in gains else []
        parts += [f"its clips changed by {changes[name]:.0%} of the way"] if name in changes else []
        parts += [f"a classifier takes {taken[name]:.0%} for the target"] if name in taken else []
        words.append(f"{name}: {', '.join(parts)}")
    return Finding(
        "copy",
        f"The translation stayed a copy of its source ({', '.join(copies)}).",
        f"{'; '.join(words)}.",
        "Loosen what holds it to the source: a lower --model.cycle_weight (or rec_weight) and --model.identity_weight, "
        "--model.cycle_loss mse, whose pull fades near the source; a D that sees brightness: "
        "--model.discriminator.norm none; or train longer. experiments/cyclegan.yaml and experiments/stargan.yaml have "
        "the settings that left the source on every seed tried (docs/translation.md).",
        "bad",
    )


def _is_copy(gain: float | None, change: float | None, taken: float | None) -> bool:
    """Whether a direction is a copy, by what is known of it."""
    if gain is not None and (abs(gain) >= t.COPY_GAIN_DB or (change or 0.0) >= 2 * t.COPY_CHANGE):
        return False
    if gain is None and (change is None or change >= t.COPY_CHANGE):
        return False
    return gain is not None or taken is None or taken < t.TAKEN_FOR_TARGET


def _latest(e: Evidence, name: str) -> tuple[float, int]:
    """The mean of the last two evaluations of a measure, and the last one's step."""
    curve = e.evaluated(name, least=2)
    return sum(curve.values[-2:]) / 2, curve.steps[-1]


def flicker(e: Evidence) -> Finding | None:
    """The frames do not belong together: they differ far more than real ones, and at random."""
    if e.translates:
        return _worst(e, "flicker_ratio", t.MUCH_FLICKER, _flickering)
    motion, step = _latest(e, "val/motion")
    shaking = _latest(e, "val/flicker")[0] if "val/flicker" in e.curves else None
    if motion < t.MUCH_MOTION or (shaking is None and motion < t.MUCH_MOTION_ALONE):
        return None
    if shaking is not None and shaking < t.MUCH_FLICKER:
        return None
    words = f"Successive frames differ {number(motion)} times as much as real ones (val/motion, step {step})"
    if shaking is not None:
        words += f", and {number(shaking)} times as much in what does not go on evenly (val/flicker)"
    most = max(e.evaluated("val/flicker" if shaking is not None else "val/motion", least=2).values)
    if (shaking or motion) < t.SETTLES * most:
        return _flickering(f"{words}; that was {number(most)} before.", "note")
    return _flickering(f"{words}.")


def _flickering(evidence: str, level: Literal["bad", "note"] = "bad") -> Finding:
    return Finding(
        "flicker",
        "The clips flicker." if level == "bad" else "The clips still flicker, less than before.",
        evidence,
        "Train longer first: early generators flicker. Then: a background that stands still by its build "
        "(experiments/videogan.yaml), a D that looks at time (--config experiments/ablations/d_branches.yaml), a "
        "recurrent generator (--config experiments/ablations/temporal_lstm.yaml), a rate that falls "
        "(--model.lr_schedule.kind linear). A translation: --model.temporal_weight 1 or --config "
        "experiments/ablations/cyclegan_flow.yaml.",
        level,
    )


def grid(e: Evidence) -> Finding | None:
    """A pattern of the period of the layers that double the size."""
    if e.translates:
        if directions(e, "grid_ratio"):
            return _worst(e, "grid_ratio", t.MUCH_GRID, _gridded)
        return _worst(e, "nyquist_ratio", t.MUCH_NYQUIST, _gridded)
    value, step = _latest(e, "val/grid")
    if value < t.MUCH_GRID:
        return None
    return _gridded(
        f"At periods of 2 and 4 pixels the clips have {number(value)} times the energy above its surroundings that "
        f"real ones have (val/grid, step {step})."
    )


def _gridded(evidence: str) -> Finding:
    return Finding(
        "grid",
        "The clips show the grid of their upsampling.",
        evidence,
        "Double the size by interpolation and a convolution instead of transposed convolutions: generator.init_args.up "
        "resize (translations), experiments/pggan.yaml or experiments/r3gan.yaml; or give transposed convolutions a "
        "kernel that is a multiple of the stride (4 for 2).",
        "bad",
    )


def _worst(e: Evidence, name: str, most: float, finding: Callable[[str], Finding]) -> Finding | None:
    """A finding where the worst direction of a translation is above a threshold."""
    e.long_enough()
    values: dict[str, Any] = directions(e, name)
    if not values:
        raise CannotJudge(f"the run has recorded no {name} of its translations")
    worst = max(values, key=values.get)
    if values[worst] < most:
        return None
    of = "its true counterparts" if name == "nyquist_ratio" else "its source"
    return finding(f"{worst}: {number(values[worst])} times that of {of} ({name}).")
