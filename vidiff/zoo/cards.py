"""Cards for people: one line for each model, one model in full, and the page `docs/zoo.md`. No torch in here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEAD = ("name", "family", "makes", "frames", "file", "license", "measured")
LEADS = ("clip_distance", "fvd_random")  # the first that was measured
SHOWN = 8  # measures of the seeds' table
OF_DIRECTIONS = {
    "psnr": "PSNR to the true counterpart, dB",
    "psnr_gain": "the same minus that of the untranslated clip, dB",
    "ssim": "SSIM to the true counterpart",
    "ssim_gain": "the same minus that of the untranslated clip",
    "cycle_psnr": "PSNR of there and back, dB",
    "position_error": "position error of the sprites, pixels",
    "target_accuracy": "taken for the target by a classifier",
}
METHODS = {  # of a restoration -> how tables call them, in order
    "degraded": "damaged",
    "non_local_means": "non-local means",
    "video_non_local_means": "non-local means over 5 frames",
    "inpainting": "OpenCV inpainting",
    "pixel_stage": "network, first stage",
    "restored": "network",
    "oracle": "true clip, re-encoded",
}
OF_METHODS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "temporal_error": "temporal error",
    "flicker_ratio": "flicker / true",
    "sharpness": "sharpness / true",
}


def number(value: float | None) -> str:
    """Three digits of a value; a hyphen where there is none."""
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 2**20:.2f} MiB"


def _size(card: dict[str, Any]) -> str:
    """Height and width of its clips, and how they are to be looked at where they are not flat."""
    projection = card["config"]["data"].get("init_args", {}).get("projection", "flat")
    side = card["resolution"]
    return f"{side}x{side}" if projection == "flat" else f"{side}x{2 * side} ({projection})"


def row(card: dict[str, Any]) -> list[str]:
    """What one line says of a model, in the order of HEAD."""
    frames = f"{card['num_frames']} of {_size(card)}"
    license = card["license"].split(";")[0]
    return [card["name"], card["family"], card["makes"], frames, size(card["file"]["bytes"]), license, headline(card)]


def headline(card: dict[str, Any]) -> str:
    """The one measure of a model that a list has room for."""
    gains = [d["psnr_gain"] for d in card["directions"].values() if "psnr_gain" in d]
    if gains:
        over = "damaged clip" if "methods" in card else "source"
        return f"PSNR gain over the {over} {', '.join(f'{g:+.1f}' for g in gains)} dB"
    name = _lead(card)
    lead = card["measures"][name]
    named = card["measures"].get("recognizable", {}).get("value")
    share = "" if named is None else f", {named:.0%} recognizable"
    return f"{name} {number(lead['value'])} (floor {number(lead['floor'])}){share}"


def _lead(card: dict[str, Any]) -> str:
    """The metric that the checkpoint was chosen by; a translation's carry the name of a direction."""
    return next(n for n in LEADS if any(m.startswith(n) for m in card["measures"]) or n == LEADS[-1])


def table(cards: Sequence[dict[str, Any]]) -> str:
    """All models, a line each."""
    if not cards:
        return "no model is here"
    rows = [list(HEAD), *map(row, cards)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in rows)


def facts(card: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, in words) of a model: where it comes from."""
    data, budget, file = card["data"], card["budget"], card["file"]
    model = card["config"]["model"].get("init_args", {})
    arguments = card["config"]["data"].get("init_args", {})
    videos = ", ".join(f"{n} {split}" for split, n in data["videos"].items())
    cpu = "" if budget["cpu_seconds"] is None else f", {budget['cpu_seconds']:,.0f} CPU-seconds"
    seeds = ", ".join(str(s["seed"]) for s in sorted(card["seeds"], key=lambda s: s["seed"]))
    spread = f"{card['shipped_seed']} of the seeds {seeds}; the worst is {card['worst_seed']}"
    rounding = file["rounding"]
    return [
        ("makes", f"{card['makes']}, {card['num_frames']} frames of {_size(card)}"),
        ("data", f"embedded set {data['dataset']} ({videos} videos), fingerprint {data['fingerprint']}"),
        ("training", f"{card['family']}, width {model.get('width', '-')}, batch {arguments.get('batch_size', '-')}, "
                     f"frame stride {data['frame_stride']}"),
        ("budget", f"{budget['steps']:,} generator steps{cpu}; shipped: step {budget['checkpoint_step']:,}"),
        ("hardware", card["hardware"] or "not recorded"),
        ("seed", spread if len(card["seeds"]) > 1 else f"{card['shipped_seed']}, the only one that was tried"),
        ("chosen by", str(card["selection"])),
        ("file", f"{size(file['bytes'])}, {file['numbers']:,} numbers, {file['precision']}; clips differ from those of "
                 f"the float32 weights by {rounding['mean']:.2g} of 255 on average"),
        ("sha256", file["sha256"]),
        ("license", card["license"]),
        ("date", f"{card['date']}, vidiff {card['vidiff']}"),
    ]  # fmt: skip


def measured(card: dict[str, Any]) -> list[list[str]]:
    """The measures of a model as a table: of a restoration by method, of a translation by direction, else with floor
    and controls."""
    directions = card["directions"]
    if "methods" in card:
        return _restored(card)
    if directions:
        rows = [["measure", *(f"{_way(card, d)} ({n})" for n, d in directions.items())]]
        rows += [
            [text, *(number(d.get(key)) for d in directions.values())]
            for key, text in OF_DIRECTIONS.items()
            if any(key in d for d in directions.values())
        ]
        name = _lead(card)
        lead = [card["measures"].get(f"{name}_{n}", {}) for n in directions]
        rows.append([name, *(number(m.get("value")) for m in lead)])
        rows.append([f"{name}, real against real (floor)", *(number(m.get("floor")) for m in lead)])
        for control, text in (("identity", "untranslated"), ("oracle", "true counterpart, re-encoded")):
            values = [d.get("controls", {}).get(control, {}).get(name) for d in directions.values()]
            rows.append([f"{name}, {text}", *map(number, values)])
        return rows
    metrics, controls = card["measures"], card["controls"]
    rows = [["clips", *metrics], ["generated", *(number(m["value"]) for m in metrics.values())]]
    rows.append(["real against real (floor)", *(number(m["floor"]) for m in metrics.values())])
    return rows + [[n.replace("_", " "), *(number(v.get(m)) for m in metrics)] for n, v in controls.items()]


def _restored(card: dict[str, Any]) -> list[list[str]]:
    """A row for each way to restore, and the metric of whole sets of clips where it was measured."""
    (way, direction), name = next(iter(card["directions"].items())), _lead(card)
    lead, controls = card["measures"].get(f"{name}_{way}", {}), direction.get("controls", {})
    of_sets = {"restored": lead.get("value")}
    of_sets |= {"degraded": controls.get("identity", {}).get(name), "oracle": controls.get("oracle", {}).get(name)}
    rows = [["clips", *OF_METHODS.values(), name]]
    for method, text in METHODS.items():
        if method in card["methods"]:
            values = card["methods"][method]
            text += f" (h = {values['strength']:g})" if "strength" in values else ""
            rows.append([text, *(number(values.get(key)) for key in OF_METHODS), number(of_sets.get(method))])
    return [*rows, ["real against real (floor)", *("-" for _ in OF_METHODS), number(lead.get("floor"))]]


def _way(card: dict[str, Any], direction: dict[str, Any]) -> str:
    """`plain to night`: the domains of a direction by the styles that they are drawn in."""
    drawn = [card["domains"].get(name, name) for name in (*direction["sources"], direction["target"])]
    return f"{', '.join(drawn[:-1])} to {drawn[-1]}"


def tried(card: dict[str, Any]) -> list[list[str]]:
    """The seeds that were tried, best first, as a table."""
    names = list(card["seeds"][0]["values"])
    if card["directions"]:
        of_each = ("psnr_gain", "ssim", "sharpness", _lead(card))
        names = [f"{key}_{way}" for key in of_each for way in card["directions"]]
    keep = [n for n in names if any(n in s["values"] for s in card["seeds"])][:SHOWN]
    rows = [["seed", "criterion", "step", *keep]]
    for seed in card["seeds"]:
        mark = f"{seed['seed']} (shipped)" if seed["seed"] == card["shipped_seed"] else str(seed["seed"])
        values = [number(seed["values"].get(name)) for name in keep]
        rows.append([mark, number(seed["criterion"]), str(seed["step"]), *values])
    return rows


def text(card: dict[str, Any]) -> str:
    """One card in full, for a terminal."""
    lines = [f"zoo:{card['name']}", ""]
    lines += [f"  {what:<10} {said}" for what, said in facts(card)]
    lines += [
        "",
        *_columns(measured(card)),
        "",
        *_columns(tried(card)),
        "",
        f"  limits: {card['limits'] or 'not stated'}",
        "",
        f"  {usage(card)}",
    ]
    return "\n".join(lines)


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) for r in rows
    ]


def usage(card: dict[str, Any]) -> str:
    """A command that uses the model."""
    if not card["directions"]:
        return f"vidiff sample --ckpt zoo:{card['name']} --output samples"
    if "methods" in card:
        return f"vidiff restore --ckpt zoo:{card['name']} --input in.mp4 --output out.mp4"
    way = next(iter(card["directions"]))
    asked = f"--target {way.removeprefix('to_')}" if way.startswith("to_") else f"--direction {way}"
    return f"vidiff translate --ckpt zoo:{card['name']} {asked} --input in.mp4 --output out.mp4"


def _markdown(rows: list[list[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(cells)} |" for cells in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


PAGE = """\
# Trained models in the box

Small models come with the package, trained on its embedded videos and on nothing else. They show what a family does
before you train your own, and let you try `sample`, `translate` and `restore` at once. They know moving sprites
over drifting backgrounds: on other videos they make nothing useful.

```bash
vidiff zoo                                # the models
vidiff zoo NAME                           # the card of one: where it comes from, how good it is, what it cannot do
```

`zoo:NAME` is taken wherever a trained model is used: `vidiff sample`, `vidiff translate`, `vidiff restore`,
`vidiff fuse`, and `vidiff.load_model("zoo:NAME")` in Python. A file holds the averaged generator alone, so that
`vidiff fit` cannot continue from one, and `--no-ema` changes nothing. It is read like a checkpoint: as data, nothing in
it is run.
"""

HOW = """\
## Adding a model

```bash
vidiff zoo add RUN --name NAME --also RUN2 RUN3 --limits "what it cannot do"
```

RUN is the folder of a finished run on an embedded set; any other data are refused. What its report is about is shipped.
`--also` names runs of the same training with other seeds, so that the card shows all that were tried. In a checkout
the command writes `vidiff/zoo/NAME.safetensors`, the card `vidiff/zoo/NAME.json`, `docs/zoo/NAME.gif` and this page;
elsewhere, and with `--output DIR`, the first three into one folder. Weights are rounded to bfloat16, and BatchNorm's
statistics measured again for the rounded ones. A file has at most 3 MiB, all together 15. The card also keeps a few
numbers of 16 clips of the shipped file, which a test makes again.
"""


def page(cards: Sequence[dict[str, Any]]) -> str:
    """The page of all models, in Markdown."""
    lines = [PAGE, *(_markdown([list(HEAD), *map(row, cards)]) if cards else ["There is none yet."]), ""]
    for card in cards:
        lines += [f"## {card['name']}", "", f"![{card['makes']}](zoo/{card['name']}.gif)", ""]
        lines += ["```bash", usage(card), "```", "", f"**What it cannot do.** {card['limits'] or 'Not stated.'}", ""]
        lines += [f"- {what}: {said}" for what, said in facts(card)]
        lines += ["", *_markdown(measured(card)), ""]
        if len(card["seeds"]) > 1:
            lines += [
                "Seeds, best first; the criterion is what the choice of the checkpoint minimizes:",
                "",
                *_markdown(tried(card)),
                "",
            ]
    return "\n".join([*lines, HOW])
