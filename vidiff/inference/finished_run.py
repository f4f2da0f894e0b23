"""What a finished run says of itself: its configuration, its report as plain numbers, and its data."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.preview import datamodule
from vidiff.data.shapes.render import psnr, scene_renderer
from vidiff.data.shapes.scene import MARKER, VERSION
from vidiff.errors import RunError, UsageError
from vidiff.files import read_yaml
from vidiff.metrics.controls import LEAD, lead_of
from vidiff.video.open import open_reader

PLACES = ("root", "seed", "cache", "cache_limit_gb", "num_workers", "timeout", "multiprocessing_context", "backend")
LOOKED_AT, ALIKE = 4, 25.0  # videos that are compared with what the renderer draws, in dB
OF_DIRECTIONS = ("psnr", "psnr_gain", "ssim", "ssim_gain", "cycle_psnr", "nyquist_ratio", "position_error")
OF_DIRECTIONS += ("target_accuracy", "sharpness")


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with `config.yaml`, `report.json` and the checkpoint that is reported.

    Raises:
        UsageError: the folder holds no finished run.
    """

    folder: Path

    def __post_init__(self):
        for name in ("config.yaml", "report.json"):
            if not (self.folder / name).is_file():
                raise UsageError(f"{self.folder} holds no {name}: name the folder of a run that came to its end")
        if not self.checkpoint.is_file():
            raise UsageError(f"{self.folder}: its report is of {self.checkpoint.name}, which is not in checkpoints/")

    @cached_property
    def report(self) -> dict[str, Any]:
        """The content of `report.json`."""
        path = self.folder / "report.json"
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            report["checkpoint"], report["checkpoint_step"], report["metrics"], report["data"]["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is no report of a run: {error!r}") from error
        return report

    @cached_property
    def config(self) -> dict[str, Any]:
        """What of `config.yaml` describes the training: no paths, and nothing that does not change the result."""
        whole = read_yaml(self.folder / "config.yaml")
        model, data, trainer = (whole.get(name) or {} for name in ("model", "data", "trainer"))
        arguments = {k: v for k, v in (data.get("init_args") or {}).items() if k not in PLACES}
        return {
            "seed_everything": whole.get("seed_everything"),
            "model": model,
            "data": data | {"init_args": arguments},
            "trainer": {k: trainer.get(k) for k in ("max_steps", "precision", "accelerator", "devices")},
        }

    @property
    def seed(self) -> int:
        return int(self.config["seed_everything"] or 0)

    @property
    def checkpoint(self) -> Path:
        """The one that was measured."""
        return self.folder / "checkpoints" / str(self.report["checkpoint"])

    @cached_property
    def values(self) -> dict[str, float]:
        """Every measure of the report by one name, `psnr_a2b` of a direction."""
        found = {name: result["value"] for name, result in self.report["metrics"].items()}
        for direction, row in self.report.get("directions", {}).items():
            found |= {f"{name}_{direction}": row[name] for name in OF_DIRECTIONS if name in row}
        return {name: value for name, value in found.items() if isinstance(value, int | float)}

    @property
    def criterion(self) -> float:
        """What the run's own choice of a checkpoint minimizes, of the report's values: less is better."""
        lead = lead_of(self.values)
        leads = [v for name, v in self.values.items() if name == lead or name.startswith(f"{lead}_")]
        if not leads:
            raise UsageError(f"{self.folder}: its report has no {lead}, by which runs are compared")
        if lead == LEAD:
            return math.fsum(leads) / len(leads)
        motion = max(self.values.get("motion", 1.0), 0.01)
        return math.fsum(leads) / len(leads) * max(motion, 1 / motion)

    def unlike(self, other: FinishedRun) -> str | None:
        """The first setting, seeds apart, in which another run differs; None: it is the same training."""
        mine, others = (dict(_flat(r.config | {"seed_everything": None})) for r in (self, other))
        mine |= {"data": self.report["data"]["fingerprint"]}
        others |= {"data": other.report["data"]["fingerprint"]}
        names = [k for k in sorted({*mine, *others}) if k.split(".")[-1] != "seed"]
        return next((k for k in names if mine.get(k) != others.get(k)), None)

    @cached_property
    def data(self) -> ClipDataModule:
        """The data of the run, as its configuration has them."""
        return datamodule([str(self.folder / "config.yaml")])

    def embedded(self) -> dict[str, Any]:
        """The renderer's record of the data, where they are an embedded set and those that were trained on.

        Raises:
            UsageError: they are other videos, or others than the run saw.
        """
        data = self.data
        refused = f"{self.folder} was trained on {data.root}"
        data.prepare_data()
        if not data.index.rendered:
            raise UsageError(f"{refused}, not on an embedded set: only those may be shipped in a model of the zoo")
        try:
            record = json.loads((data.index.root / MARKER).read_text(encoding="utf-8"))
            whole = record["dataset"] == "shapes" and record["version"] == VERSION
            whole = whole and record["files"] == len(data.index.entries)
            whole = whole and all(_as_drawn(data, record, k) for k in range(LOOKED_AT))
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UsageError(f"{refused}, which is not what the renderer of the embedded sets leaves")
        if data.fingerprint != (trained := self.report["data"]["fingerprint"]):
            raise UsageError(f"{refused}, whose fingerprint is {data.fingerprint} now and was {trained} in the run")
        return record


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of everything in nested dicts."""
    if not isinstance(value, dict):
        return [(name, value)]
    return [pair for k, v in value.items() for pair in _flat(v, f"{name}.{k}".lstrip("."))]


def _as_drawn(data: ClipDataModule, record: dict[str, Any], number: int) -> bool:
    """Whether one of the videos shows the scene that its name says."""
    entry = data.index.entries[number * (len(data.index.entries) - 1) // (LOOKED_AT - 1)]
    folder, _, name = entry.path.rpartition("/")
    style = record["folders"][folder] if "folders" in record else record["styles"][0]
    drawn = scene_renderer(record)(
        record["seed"], int(name.partition(".")[0]), style, entry.num_frames, record["resolution"]
    )
    reader = open_reader(data.index.root / entry.path, entry.kind, "pyav", entry.files, entry.white)
    read = reader.read(range(entry.num_frames))
    return drawn.shape == read.shape and psnr(drawn, read) > ALIKE
