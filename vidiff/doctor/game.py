"""Rules about the two players: diverged, G stands still, collapsed, D has won, D knows its clips by heart."""

from __future__ import annotations

import math

from vidiff.doctor import thresholds as t
from vidiff.doctor.evidence import Curve, Evidence
from vidiff.doctor.finding import CannotJudge, Finding

NAMES = {"g": "G", "d": "D"}


def number(value: float) -> str:
    """Three digits, as people write them."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def diverged(e: Evidence) -> Finding | None:
    """A value that is not finite, an error that stopped the training for one, or losses and norms that exploded."""
    advice = (
        "Begin again with a lower rate (--model.optimizer_g.lr and --model.optimizer_d.lr, a half or a tenth) or with "
        "--model.clip_grad_norm 1.0; D is steadier with --config experiments/ablations/d_spectral.yaml or a penalty, "
        "--config experiments/ablations/s_gradient_penalty.yaml. In half precision try --trainer.precision 32-true."
    )
    title = "The training diverged."
    if e.stopped and "diverged" in e.stopped.get("error", ""):
        return Finding("diverged", title, f"It was stopped: {e.stopped['error']}", advice, "bad")
    for name, curve in e.curves.items():
        for step, value in zip(curve.steps, curve.values):
            if not math.isfinite(value) and name.startswith(("train/", "val/")):
                return Finding("diverged", title, f"{name} is {value} at step {step}.", advice, "bad")
    e.curve("train/g_total")  # of an old or empty folder nothing can be said
    for player, label in NAMES.items():
        if words := _exploded(e, player):
            return Finding("diverged", title, f"{label}: {words}.", advice, "bad")
    return None


def _exploded(e: Evidence, player: str) -> str:
    """What of a player has exploded, in words; empty where nothing has."""
    weights = e.curves.get(f"train/{player}_weight_norm")
    if weights and weights.values[-1] > t.WEIGHTS_GREW * weights.values[0] > 0:
        return f"the norm of its weights went from {number(weights.values[0])} to {number(weights.values[-1])}"
    for name, what in ((f"train/{player}_total", "the loss"), (f"train/{player}_grad_norm", "the gradient norm")):
        curve = e.curves.get(name)
        if curve is None or len(curve) < t.LEAST_ROWS:
            continue
        size = Curve(curve.steps, tuple(abs(v) for v in curve.values))
        first, last = size.between(0, 0.25), size.between(0.75)
        if len(last) and name.endswith("total") and last.median > t.ENORMOUS:
            return f"{what} is {number(last.median)} (median of the last quarter)"
        if len(first) and len(last) and last.median > max(t.LARGE, t.EXPLODED * first.median):
            return f"{what} went from {number(first.median)} (first quarter) to {number(last.median)} (last quarter)"
    return ""


def still(e: Evidence) -> Finding | None:
    """G gets no gradient or no rate, its weights keep their norm, or every measure stays what it was."""
    reasons = []
    advice = (
        "Look at --model.optimizer_g.lr (2e-4 is a usual rate) and model.lr_schedule, at model.stages (does one train "
        "only D?) and at parameters with requires_grad=False; gradients of 0 also come from a saturated D: lower "
        "--model.optimizer_d.lr."
    )
    rate, norm = e.curves.get("train/lr_g"), e.curves.get("train/g_grad_norm")
    e.long_enough()
    if rate and not any(rate.between(0.5).values or [1.0]):
        reasons.append("the learning rate of G is 0 in the second half of the run")
    if norm and len(late := norm.between(0.5)) and max(late.values) < t.NO_GRADIENT:
        reasons.append(f"the gradient norm of G is at most {number(max(late.values))} in the second half of the run")
    weights = e.curves.get("train/g_weight_norm")
    if weights and len(weights) >= t.LEAST_ROWS and _spread(weights) < t.SAME_WEIGHTS:
        reasons.append(f"the norm of G's weights is {weights.values[-1]:.6g} from the first step to the last")
    measures = [c for name, c in e.curves.items() if name in MEASURES and len(c) >= t.LEAST_EVALUATIONS]
    if measures and all(_spread(c) < t.SAME_VALUES for c in measures):
        reasons.append(
            f"all {len(measures)} measures of {len(measures[0])} evaluations agree to {max(map(_spread, measures)):.1g}"
        )
    if not reasons and not (measures or weights or norm):
        raise CannotJudge("the run has recorded neither norms nor evaluations")
    if not reasons:
        return None
    text = "; ".join(reasons)
    return Finding("still", "G stands still.", f"{text[0].upper()}{text[1:]}.", advice, "bad")


MEASURES = ("val/clip_distance", "val/fvd_random", "val/motion", "val/diversity")


def _spread(curve: Curve) -> float:
    """Largest minus smallest value, relative to the largest size."""
    size = max(abs(v) for v in curve.values)
    return (max(curve.values) - min(curve.values)) / size if size else 0.0


def collapsed(e: Evidence) -> Finding | None:
    """The generated clips are all alike."""
    curve = e.evaluated("val/diversity", least=2)
    late = Curve(curve.steps[-2:], curve.values[-2:])
    if late.mean >= t.NO_DIVERSITY:
        return None
    words = f"The clips differ from one another by {late.mean:.1%} of what real ones do (val/diversity, steps "
    words += f"{late.steps[0]} and {late.steps[-1]}; best was {max(curve.values):.2g})."
    return Finding(
        "collapsed",
        "The generator collapsed: its clips are (almost) all the same.",
        words,
        "Show D several clips at once: --config experiments/ablations/d_minibatch_std.yaml; or begin again with the "
        "games that collapse least, experiments/r3gan.yaml or experiments/wgan_gp.yaml, a lower --model.optimizer_g.lr "
        "or a larger --data.batch_size. best.ckpt may be from before: see checkpoint_step in report.json.",
        "bad",
    )


def d_won(e: Evidence) -> Finding | None:
    """D is right about almost every clip for long, the gap of its logits grows, and G does not get better."""
    right = e.course("train/d_separation")
    if right.mean < t.ALWAYS_RIGHT:
        return None
    gap = gap_of(e)
    before, after = gap.between(0.25, 0.5), gap.between(0.75)
    if not len(before) or not len(after) or after.mean < t.GAP_GROWS * abs(before.mean):
        return None
    quality = e.evaluated(lead_of(e))
    early, late = quality.between(0, 0.5), quality.between(0.5)
    if not len(early) or not len(late):
        raise CannotJudge(f"{lead_of(e)} was not evaluated in both halves of the run")
    if min(late.values) < t.NOT_BETTER * min(early.values):
        return None
    return Finding(
        "d_won",
        "D has won: it tells real from generated without fail, and G no longer learns.",
        f"D is right about {right.mean:.1%} of the clips in the second half of the run, the gap of its logits grew "
        f"from {number(before.mean)} to {number(after.mean)}, and the best {lead_of(e)} of the second half "
        f"({number(min(late.values))}) is no better than that of the first ({number(min(early.values))}).",
        "Slow D down: a lower --model.optimizer_d.lr, or --config experiments/ablations/s_balance.yaml; or give it a "
        "harder task: --config experiments/ablations/s_diffaugment.yaml, experiments/ablations/d_spectral.yaml, "
        "experiments/ablations/s_gradient_penalty.yaml. --model.g_steps 2 gives G more updates.",
        "bad",
    )


def gap_of(e: Evidence) -> Curve:
    """Mean logit of real minus that of generated clips."""
    real, fake = e.curve("train/d_real_logit"), e.curve("train/d_fake_logit")
    return Curve(real.steps, tuple(a - b for a, b in zip(real.values, fake.values)))


def lead_of(e: Evidence) -> str:
    """The column of the measure that chooses the best checkpoint.

    Raises:
        CannotJudge: no evaluation is recorded.
    """
    first = (e.setting("evaluation", "metrics_in_training") or ["fvd_random"])[0]
    e.curve(f"val/{first}")
    return f"val/{first}"


def memorizing(e: Evidence) -> Finding | None:
    """D prefers its training clips to held-out ones, or generated clips lie nearer to training clips than real ones."""
    if e.translates:
        raise CannotJudge("it is measured for clips that are made from noise")
    reasons = []
    known, seen = (e.curves.get(f"val/d_train_above_{side}") for side in ("held_out", "generated"))
    if known and seen and len(known.between(0)) >= t.LEAST_EVALUATIONS:
        share, other = (sum(c.values[-2:]) / 2 for c in (known, seen))
        if share >= t.KNOWS_BY_HEART and other >= t.SEES_GENERATED:
            reasons.append(
                f"D takes a training clip for more real than a held-out one in {share:.0%} of the pairs (50%: "
                f"it does not know them; against generated clips {other:.0%})"
            )
    mine, theirs = nearest_of(e)
    if mine is not None and theirs and mine < t.NEARER * theirs:
        reasons.append(
            f"generated clips are {number(mine)} from the nearest training clip, held-out real clips {number(theirs)}"
        )
    if not reasons and known is None and theirs is None:
        raise CannotJudge("the run has recorded neither D's answers to held-out clips nor their nearest training clip")
    if not reasons:
        return None
    text = "; ".join(reasons)
    return Finding(
        "memorizing",
        "The training clips are learnt by heart.",
        f"{text[0].upper()}{text[1:]}.",
        "More videos help most. Else augment what D sees: --config experiments/ablations/s_ada.yaml or "
        "experiments/ablations/s_diffaugment.yaml, --data.augment light; a smaller --model.width; stop earlier "
        "(best.ckpt is from the best evaluation).",
        "bad",
    )


def nearest_of(e: Evidence) -> tuple[float | None, float | None]:
    """Mean distance to the nearest training clip, of generated and of held-out real clips; None where unknown."""
    report = e.report or {}
    mine = ((report.get("metrics") or {}).get("nearest") or {}).get("value")
    theirs = ((report.get("controls") or {}).get("real_held_out") or {}).get("nearest")
    return mine, theirs
