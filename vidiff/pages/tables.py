"""The tables of a page: measures with their floors, the controls beside them, facts, differences of settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidiff.errors import UsageError
from vidiff.metrics.controls import CONTROLS, controls_of, lead_of
from vidiff.metrics.protocol import check_comparable
from vidiff.pages.chart import ladder
from vidiff.pages.folder import Recorded, dictionary
from vidiff.pages.markup import Markup, join, table, tag
from vidiff.pages.words import clip_size, clock, count, data_set, device, duration, family, number, verdict, videos

NOTE = "motion and diversity are ratios to real clips (1 is right); clip_distance and fvd_random are no FVD."
OTHERS = {"identity": "source", "oracle": "truth"}  # controls of a translation
MEASURES = {  # of a translation -> how the table calls it
    "psnr": "PSNR, dB",
    "psnr_gain": "PSNR, gain over source",
    "ssim": "SSIM",
    "ssim_gain": "SSIM, gain over source",
    "cycle_psnr": "cycle PSNR, dB",
    "flicker_difference": "flicker minus source's",
    "nyquist_ratio": "grid (above 1)",
    "position_error": "position error, pixels",
    "target_accuracy": "taken for the target",
    "gram_ratio": "Gram distance to the style over source's",
    "content_cosine": "content cosine to the source",
    "warp_ratio": "warp error over source's",
}


def measures(run: Recorded) -> Markup:
    """What `report.json` holds: how the run stands among the controls, and every value."""
    return _translation(run) if run.directions else _generator(run)


def _generator(run: Recorded) -> Markup:
    metrics, controls = run.metrics, controls_of(run.report)
    rows = [["generated", *[number(r.get("value")) for r in metrics.values()]]]
    rows.append(["real against real (floor)", *[number(r.get("floor")) for r in metrics.values()]])
    for name, values in controls.items():
        rows.append([name.replace("_", " "), *[number(values[m]) if m in values else "" for m in metrics]])
    leaks = {m: r["leak"] for m, r in metrics.items() if "leak" in r}
    said = [tag("p", f"Do not go by {m}: {reason}.", class_="warn") for m, reason in leaks.items()]
    full = table(
        ["clips", *(f"({m})" if m in leaks else m for m in metrics)],
        rows,
        f"Measures of {run.name}, its floors and controls",
        ["own", "floor"] + [""] * 99,
    )
    return join(
        _ladder(run, lead_of(metrics), "this model"), full, *said, tag("p", NOTE, class_="small"), _selection(run)
    )


def _ladder(run: Recorded, metric: str, own: str) -> Markup | None:
    """The value of a metric among the floor and the controls."""
    result = dictionary(run.metrics.get(metric))
    kinds = {c.name: (c.label, c.shows) for c in CONTROLS}
    named = [(own, result.get("value"), "own"), ("real against real (floor)", result.get("floor"), "floor")]
    for name, values in controls_of(run.report).items():
        label, kind = kinds.get(name, (name.replace("_", " "), "limit"))
        named.append(({"identity": "untouched source", "oracle": "true counterpart"}.get(name, label),) + (
            dictionary(values).get(metric), kind,
        ))  # fmt: skip
    rows = [(label, float(v), kind) for label, v, kind in named if isinstance(v, int | float) and v >= 0]
    return ladder(rows, metric) if len(rows) > 2 and result.get("value") is not None else None


def _translation(run: Recorded) -> Markup:
    """A block a direction: where it stands, and a row a measure."""
    blocks = []
    for name, direction in run.directions.items():
        title = f"{' '.join(map(str, direction.get('sources') or []))} to {direction.get('target')}"
        inner = [_ladder(run, f"{lead_of(run.metrics)}_{name}", "translations"), _direction(run, name, direction)]
        blocks.append(tag("div", tag("h3", title), *inner))
    return join(tag("div", *blocks, class_="pair"), _probes(run), _selection(run))


def _direction(run: Recorded, name: str, direction: dict[str, Any]) -> Markup:
    controls = dictionary(direction.get("controls"))
    rows = []
    for metric, result in run.metrics.items():
        if metric.endswith(f"_{name}"):
            base = metric.removesuffix(f"_{name}")
            beside = [dictionary(controls.get(c)).get(base) for c in OTHERS]
            rows.append([base, *[_cell(base, v) for v in (result.get("value"), result.get("floor"), *beside)]])
    for key, label in MEASURES.items():
        if key in direction:
            rows.append(
                [
                    label,
                    *[_cell(key, v) for v in (direction[key], None, *[direction.get(f"{c}_{key}") for c in OTHERS])],
                ]
            )
    head = ["", "translation", "floor", *OTHERS.values()]
    return table(head, rows, f"Measures of {name} of {run.name}, of its sources and of their true counterparts")


def _cell(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.0%}" if name == "target_accuracy" else f"{value:+.2f}" if name.endswith("_gain") else number(value)


def _probes(run: Recorded) -> Markup | None:
    found = dictionary(dictionary(run.report.get("classifier")).get("accuracy_on_real"))
    if not found:
        return None
    real = ", ".join(f"{k} {v:.0%}" for k, v in found.items())
    return tag("p", f"The classifier is right on real held-out clips: {real}. {NOTE.split('; ')[1]}", class_="small")


def _selection(run: Recorded) -> Markup | None:
    if "checkpoint" not in run.report or "selection" not in run.report:
        return None
    step = count(run.report.get("checkpoint_step"))
    text = f"Measured: {run.report['checkpoint']} of step {step}, the one with the {run.report['selection']}."
    return tag("p", text, class_="small")


def facts(run: Recorded) -> dict[str, str]:
    """What a run is, in a few words each; what is not known is left out."""
    parameters = dictionary(run.report.get("parameters")) or dictionary(run.about.get("parameters"))
    seconds, cpu = clock(run), run.report.get("cpu_seconds")
    found = {
        "model": family(run),
        "parameters": ", ".join(f"{p.upper()} {count(n)}" for p, n in parameters.items()),
        "data set": data_set(run),
        "training videos": videos(run),
        "clips": clip_size(run),
        "generator steps": count(run.step) + (f" in {len(run.sessions)} sessions" if len(run.sessions) > 1 else ""),
        "clips seen": count(run.report["clips_seen"]) if "clips_seen" in run.report else "",
        "CPU time": duration(cpu) if isinstance(cpu, int | float) else "",
        "on the clock": duration(seconds) if seconds is not None else "",
        "device": device(run),
        "seed": str(run.config.get("seed_everything", "")),
        "vidiff": str(run.report.get("vidiff") or run.about.get("vidiff") or ""),
        "folder": str(run.dir),
    }
    return {name: text for name, text in found.items() if text}


def compared_facts(runs: Sequence[Recorded]) -> Markup:
    """A column a run."""
    each = [facts(run) for run in runs]
    names = list(dict.fromkeys(name for found in each for name in found))
    rows = [[name, *[found.get(name, "") for found in each]] for name in names]
    return table(["", *_heads(runs)], rows, "What the runs are")


def compared_measures(runs: Sequence[Recorded]) -> Markup:
    """A row a metric, a column a run; where protocols differ the values are not to be compared, which is said."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    rows, differ = [], []
    for name in names:
        results = [dictionary(run.metrics.get(name)) for run in runs]
        rows.append([name, *[_with_floor(r) for r in results]])
        try:
            check_comparable([r["protocol"] for r in results if "protocol" in r])
        except UsageError:
            differ.append(name)
    rows.append(["verdict", *[verdict(run)[1] for run in runs]])
    warning = f"Measured differently, so not to be compared: {', '.join(differ)}." if differ else ""
    body = table(["measure", *_heads(runs)], rows, "Measures of the runs, with the floor of real clips in brackets")
    return join(tag("p", warning, class_="warn") if warning else None, body, tag("p", NOTE, class_="small"))


def _with_floor(result: dict[str, Any]) -> str:
    if not result:
        return ""
    return f"{number(result.get('value'))} ({number(result.get('floor'))})"


def _heads(runs: Sequence[Recorded]) -> list[Markup]:
    return [join(tag("i", class_=f"key c{i}"), run.name) for i, run in enumerate(runs)]


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Dotted name -> value as text of nested settings; `init_args` is left out of names."""
    if not isinstance(value, dict) or not value:
        return {name: "" if value is None else str(value)}
    out: dict[str, str] = {}
    for key, inner in value.items():
        part = name if key == "init_args" else f"{name}.{key}".lstrip(".")
        out |= flat(inner, part)
    return out


def differences(runs: Sequence[Recorded]) -> Markup:
    """The settings in which runs differ."""
    each = [flat(run.config) for run in runs]
    names = sorted({name for found in each for name in found})
    rows = [
        [name, *[found.get(name, "–") for found in each]]
        for name in names
        if len({found.get(name) for found in each}) > 1
    ]
    if not rows:
        return tag("p", "The configurations are the same.")
    return table(["setting", *_heads(runs)], rows, "Settings that differ")
