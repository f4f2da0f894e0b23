"""From a finished run on an embedded set to a model of the zoo: its file, its card, its picture and the page of all."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidiff import __version__, zoo
from vidiff.errors import RunError, UsageError, doing
from vidiff.files import check_writable, replacing, write_json, write_text
from vidiff.inference.checkpoint import build_model, load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.inference.finished_run import FinishedRun
from vidiff.inference.spot_check import (
    CLIPS,
    SEED,
    Scenes,
    damaged_scenes,
    drawn_styles,
    example_clips,
    spot_check,
)
from vidiff.inference.weights_file import SUFFIX, round_weights, write_weights
from vidiff.models.module import VideoModule
from vidiff.models.restorer import CLEAN, DEGRADED, Restorer
from vidiff.models.translation import Translator
from vidiff.video.write import write_gif
from vidiff.zoo.cards import page

LICENSE = "Apache-2.0"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RESERVED = ("add",)  # an action of the command
LARGEST_PICTURE = 300_000  # bytes
SMALLER = ((3, 1), (2, 1), (2, 2), (2, 4), (1, 4), (1, 8))  # (times enlarged, every which frame), until it fits
SHOWN_FRAMES = 8  # of translations, at least
RESTORED = 4  # scenes of a picture
PAPER = 250  # grey of what separates clips


def add_to_zoo(
    run: Path,
    name: str,
    *,
    also: Sequence[Path] = (),
    limits: str = "",
    hardware: str = "",
    output: Path | None = None,
) -> dict[str, Any]:
    """Make a model of the zoo of a run: weights, card and picture, and in a checkout the page of all models.

    Args:
        run: folder of a finished run on an embedded set; what its report is about is shipped.
        name: small letters, digits and hyphens; a model of this name is replaced.
        also: folders of the same training with other seeds, whose measures are put beside.
        limits: in words, what the model cannot do and what is wrong with its clips.
        hardware: in words, what it was trained on: a run records its CPU seconds alone.
        output: folder of all files; None: `vidiff/zoo` and `docs/zoo` of a checkout.

    Returns:
        The card.

    Raises:
        UsageError: it may not be shipped (other data, too large, no report), or there is no place for it.
        RunError: a file is damaged.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(f"--name {name}: small letters, digits and hyphens, such as cyclegan-day2night")
    folder, pictures, document = _places(output)
    shipped, others = FinishedRun(Path(run)), [FinishedRun(Path(other)) for other in also]
    _check_seeds(shipped, others)
    record = shipped.embedded()
    content = read_checkpoint(shipped.checkpoint)
    if content["global_step"] != shipped.report["checkpoint_step"]:
        raise UsageError(f"{shipped.checkpoint} is of step {content['global_step']}, the report of another")
    model = build_model(content, shipped.checkpoint)
    scenes = _scenes(model, shipped, record)
    before = _shown(model, scenes)
    round_weights(model)
    weights, picture = folder / f"{name}{SUFFIX}", pictures / f"{name}.gif"
    for path in (weights, picture, folder / f"{name}.json"):
        check_writable(path)
    with replacing(weights) as temporary, doing(f"writing {weights}"):
        write_weights(model, content, temporary)
        _check_size(temporary, name, folder)
        model = load_model(temporary, "cpu")  # as a user will
        card = _card(name, model, shipped, others, record) | {"limits": limits, "hardware": hardware}
        card["file"] = _file(temporary, model, before, _shown(model, scenes))
        card["check"] = {"clips": CLIPS, "seed": SEED, "scenes": vars(scenes), "values": spot_check(model, scenes)}
        _write_picture(picture, mosaic(model, scenes))
    write_json(folder / f"{name}.json", card)
    if document is not None:
        write_text(document, page(zoo.all_cards(folder)))
    return card


def _places(output: Path | None) -> tuple[Path, Path, Path | None]:
    """Folder of the weights and cards, of the pictures, and the page; no page outside of a checkout."""
    if output is not None:
        return Path(output), Path(output), None
    root = zoo.FOLDER.parents[1]
    if not (root / "pyproject.toml").is_file() or not (root / "docs").is_dir():
        raise UsageError("vidiff is installed and no checkout is here: name a folder, --output DIR")
    return zoo.FOLDER, root / "docs" / "zoo", root / "docs" / "zoo.md"


def _check_seeds(shipped: FinishedRun, others: Sequence[FinishedRun]) -> None:
    seeds = [shipped.seed]
    for other in others:
        if name := shipped.unlike(other):
            raise UsageError(f"--also {other.folder} is not the same training as {shipped.folder}: {name} differs")
        if other.seed in seeds:
            raise UsageError(f"--also {other.folder} has the seed {other.seed}, as another run given here")
        seeds.append(other.seed)


def _check_size(path: Path, name: str, folder: Path) -> None:
    size, most = path.stat().st_size, f"at most {zoo.LARGEST / 2**20:.0f} are shipped"
    if size > zoo.LARGEST:
        raise UsageError(f"{name} has {size / 2**20:.2f} MiB, {most}: train a smaller --model.width")
    size += sum((folder / f"{n}{SUFFIX}").stat().st_size for n in zoo.names(folder) if n != name)
    if size > zoo.LARGEST_TOGETHER:
        most = f"at most {zoo.LARGEST_TOGETHER / 2**20:.0f} are shipped"
        raise UsageError(f"with {name} all models have {size / 2**20:.1f} MiB, {most}: remove one")


def _scenes(model: VideoModule, run: FinishedRun, record: dict[str, Any]) -> Scenes:
    """Scenes of the set that no training clip shows, where it has such scenes."""
    translates = isinstance(model, Translator) and not isinstance(model, Restorer)  # those are of one style
    styles = drawn_styles(model.domains if translates else [], record)
    first = len(record["styles"]) * record["videos"] if translates else record["videos"]
    return Scenes(record["seed"], styles, first, record["resolution"], run.report["data"]["frame_stride"])


def _card(
    name: str, model: VideoModule, run: FinishedRun, others: Sequence[FinishedRun], record: dict[str, Any]
) -> dict[str, Any]:
    """The part of a card that the runs say."""
    report, spec = run.report, model.spec
    seeds = sorted((run, *others), key=lambda r: r.criterion)
    makes, drawn = _makes(model, record)
    rows = report["metrics"].items()
    return {
        "name": name,
        "family": type(model).__name__,
        "makes": makes,
        "domains": drawn,
        "num_frames": spec.num_frames,
        "resolution": spec.resolution,
        "license": f"{LICENSE}; so are its data, which the package renders itself",
        "date": time.strftime("%Y-%m-%d"),
        "vidiff": __version__,
        "data": report["data"] | {"record": record},
        "config": run.config,
        "budget": {k: report.get(k) for k in ("steps", "checkpoint_step", "clips_seen", "cpu_seconds", "parameters")},
        "selection": report.get("selection"),
        "measures": {m: {"value": r["value"], "floor": r.get("floor")} for m, r in rows},
        "controls": report.get("controls", {}),
        "directions": report.get("directions", {}),
        **({"methods": report["methods"]} if "methods" in report else {}),
        "seeds": [
            {"seed": r.seed, "criterion": r.criterion, "step": r.report["checkpoint_step"],
             "cpu_seconds": r.report.get("cpu_seconds"), "values": r.values}
            for r in seeds
        ],
        "shipped_seed": run.seed,
        "worst_seed": seeds[-1].seed,
    }  # fmt: skip


def _makes(model: VideoModule, record: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """What a model makes, in words, and of a translation its domains by the styles that they are drawn in."""
    if isinstance(model, Restorer):
        return f"restorations: {model.undoes} undone" if model.degradations else "reconstructions", {}
    if isinstance(model, Translator):
        styles = drawn_styles(model.domains, record)
        makes = "translations between " + " and ".join([", ".join(styles[:-1]), styles[-1]])
        return makes, dict(zip(model.domains, styles))
    classes = model.spec.num_classes
    return "clips from noise" if not classes else f"clips from noise, {classes} classes", {}


def _file(path: Path, model: VideoModule, before: Tensor, after: Tensor) -> dict[str, Any]:
    """What a card says of the file with the weights."""
    tensors = list(model.generator.state_dict().values())
    difference = (before.int() - after.int()).abs().float()
    return {
        "bytes": path.stat().st_size,
        "sha256": zoo.sha256_of(path),
        "numbers": sum(t.numel() for t in tensors),
        "precision": "bfloat16; float32 where a tensor has fewer than two dimensions",
        "rounding": {"mean": round(float(difference.mean()), 4), "largest": int(difference.max())},
    }


def _shown(model: VideoModule, scenes: Scenes) -> Tensor:
    """Clips that show what a model makes, uint8 (N, C, T, H, W)."""
    return torch.stack([clip for row in _rows(model, scenes) for clip, made in row if made])


def _rows(model: VideoModule, scenes: Scenes) -> list[list[tuple[Tensor, bool]]]:
    """Rows of (clip (C, T, H, W), whether the model made it): four by four, or sources and their translations."""
    if not isinstance(model, Translator):
        clips = example_clips(model)
        return [[(clip, True) for clip in clips[i : i + 4]] for i in range(0, CLIPS, 4)]
    if isinstance(model, Restorer):
        return _restored(model, scenes)
    rows, count = [], len(scenes.styles)
    # A translation takes clips of any length: the few frames of a training are too short to be looked at.
    length = max(SHOWN_FRAMES, model.spec.num_frames) if model.spec.num_frames > 1 else 1
    for n in range(4 if count == 2 else 1):
        row = []
        for source in range(count):
            clip = scenes.clips(model, scenes.styles[source], n + 1, length)[n]
            others = [target for target in range(count) if target != source]
            made = [model.translate(clip[None], source, target)[0] for target in others]
            row += [(clip, False), *((m, True) for m in made)]
        rows.append(row)
    if count == 2:
        return rows
    return [rows[0][i : i + count] for i in range(0, count * count, count)]


def _restored(model: Restorer, scenes: Scenes) -> list[list[tuple[Tensor, bool]]]:
    """Of each scene: damaged, restored, and as it was."""
    true = scenes.clips(model, scenes.styles[0], RESTORED)
    damaged = damaged_scenes(model, true)
    made = model.translate(damaged, DEGRADED, CLEAN)
    return [[(d, False), (m, True), (t, False)] for d, m, t in zip(damaged, made, true)]


def mosaic(model: VideoModule, scenes: Scenes) -> Tensor:
    """One clip (C, T, H, W) of rows; a source has its translations to its right, and a line before the next source."""
    rows = []
    for row in _rows(model, scenes):
        parts = []
        for k, (clip, made) in enumerate(row):
            if k and not made:
                parts.append(torch.full_like(clip[..., :2], PAPER))
            parts.append(clip)
        rows.append(torch.cat(parts, dim=-1))
    return torch.cat(rows, dim=-2)


def _write_picture(path: Path, clip: Tensor) -> None:
    """A gif as large as the limit allows, with fewer frames where it has to be."""
    for scale, step in SMALLER:
        write_gif(path, clip[:, ::step], fps=8 / step, scale=scale, dither=False)
        if path.stat().st_size <= LARGEST_PICTURE:
            return
    path.unlink()
    raise RunError(f"{path} would have more than {LARGEST_PICTURE / 1e3:.0f} kB: the clips are too large for a picture")
