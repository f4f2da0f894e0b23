"""At the end of a run: walls of clips for its page, and the page itself. Neither ever fails a run."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vidiff import __version__
from vidiff.errors import first_line
from vidiff.files import write_json
from vidiff.models.translation import Translator
from vidiff.nn.blocks import count_parameters
from vidiff.pages import PAGE, write_page
from vidiff.pages.clips import wall
from vidiff.progress import say
from vidiff.training.run import Run
from vidiff.video.provenance import AI_GENERATED
from vidiff.video.write import to_frames, write_mp4


class Wall(NamedTuple):
    """Clips that are shown side by side.

    Args:
        title: what they are.
        clips: uint8 (C, T, H, W) each, row by row.
        across: clips in a row.
        columns: what each column is, where the columns differ.
    """

    title: str
    clips: Sequence[Tensor]
    across: int
    columns: tuple[str, ...] = ()


@contextmanager
def trying(what: str) -> Iterator[None]:
    """Whatever goes wrong in the block costs one line."""
    try:
        yield
    except Exception as error:
        say(f"{what} could not be written: {first_line(error)}")


def write_walls(folder: Path, walls: Sequence[Wall], step: int) -> None:
    """Write each wall as an mp4 into `folder`, and `walls.json`, which says what they show.

    Args:
        folder: `samples/` of a run.
        walls: what to write.
        step: generator step of the state that made the clips.
    """
    entries: list[dict[str, Any]] = []
    for i, (title, clips, across, columns) in enumerate(walls):
        name = f"wall-{i}.mp4"
        write_mp4(folder / name, wall([to_frames(clip) for clip in clips], across), crf=20, comment=AI_GENERATED)
        entries.append({"file": name, "title": title, "columns": columns, "clips": len(clips), "step": step})
    write_json(folder / "walls.json", {"walls": entries})


class Page(Callback):
    """Keeps `run.json`, and writes `report.html` when training has ended.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Run):
        self.run, self._began = run, 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.monotonic()
        if trainer.is_global_zero:
            self._record(pl_module, _session(trainer))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        with trying(f"{self.run.dir / PAGE}"):
            about = self._read()
            about["sessions"][-1]["seconds"] = round(time.monotonic() - self._began, 1)
            write_json(self._path, about)
            trainer.print(f"{'page':<8} {write_page([self.run.dir])}")

    @property
    def _path(self) -> Path:
        return self.run.dir / "run.json"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a run of an older version, or a damaged file
            found = {}
        return found if isinstance(found, dict) else {}

    def _record(self, module: LightningModule, session: dict[str, Any]) -> None:
        """Write `run.json`: what is trained on what, and this session behind those that it continues."""
        before = self._read().get("sessions") if self.run.resumed else None
        about = {
            "vidiff": __version__,
            "model": type(module).__name__,
            "translates": isinstance(module, Translator),
            "parameters": {player: count_parameters(net) for player, net in module.players.items()},
            "data": module.data_record,
            "sessions": [*(before if isinstance(before, list) else []), session],
        }
        write_json(self._path, about)


def _session(trainer: Trainer) -> dict[str, Any]:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"started": started, "device": name, "processes": trainer.world_size, "torch": torch.__version__}


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
