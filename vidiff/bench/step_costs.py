"""What a training step costs: seconds, work, memory, and which part of the step they go into."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule
from torch import Tensor

from vidiff.bench.step_clock import PARTS, Clock, Lap, Laps, TimedLoader, forget_peak, memory_mb, roof
from vidiff.configs import find_experiment
from vidiff.data.domains import DomainDataModule
from vidiff.errors import UsageError, at_least
from vidiff.models import families
from vidiff.models.allocator import release_memory
from vidiff.models.module import VideoModule
from vidiff.nn.blocks import count_parameters
from vidiff.paths import experiments_dir
from vidiff.progress import track
from vidiff.training.cli import resolved_config
from vidiff.training.loggers import MetricsCSV
from vidiff.training.machine import hardware
from vidiff.training.run import Run
from vidiff.training.trainer import make_trainer, quiet
from vidiff.training.training_log import Spent, TrainingLog

MOST_CLIPS = 2  # of a batch of the published experiments, where none is named: theirs are for a GPU
DOMAINS, CLASSES = 5, 4  # of a ready batch, where only the data could tell

Row = dict[str, Any]


class Ready(LightningDataModule):
    """One batch of noise that is there already, with what any family asks for; only its slots move on.

    Args:
        sizes: `num_frames`, `resolution`, `channels`, `batch_size`, as the experiment's data has them.
        num_classes: labels are below.
    """

    def __init__(self, sizes: dict[str, int], num_classes: int | None):
        super().__init__()
        self.num_classes, self.size = num_classes, sizes["batch_size"]
        shape = (self.size, sizes["channels"], sizes["num_frames"], sizes["resolution"], sizes["resolution"])
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))
        label = torch.arange(self.size) % (num_classes or 1)
        self.batch = {"clip": a, "clip_a": a, "clip_b": b, "label": label}

    def train_dataloader(self) -> Any:
        class Endless:
            def __iter__(loader) -> Iterator[dict[str, Tensor]]:
                slots = torch.arange(self.size)
                while True:
                    yield self.batch | {"slot": slots}
                    slots = slots + self.size

        return Endless()

    def val_dataloader(self) -> Any:
        return []  # Lightning warns where there is none


@dataclass
class Entrant:
    """An experiment that is measured: its model and data, and what was found of it."""

    name: str
    model: VideoModule
    data: LightningDataModule
    settings: dict[str, Any]
    laps: list[Lap] = field(default_factory=list)
    gflop: float = 0.0
    memory_mb: float | None = None


def published() -> list[Path]:
    """The experiments with published networks and sizes, experiments/peers/."""
    return sorted((experiments_dir() / "peers").glob("*.yaml"))


def entrant(experiment: str | Path, fit: Sequence[str] = (), real: bool = False, most: int | None = None) -> Entrant:
    """Build what an experiment describes.

    Args:
        experiment: its file.
        fit: further arguments of `fit`, such as `--model.width 32`.
        real: the experiment's own data instead of a ready batch.
        most: clips of a batch at most.

    Raises:
        UsageError: there is no such experiment, or `fit` would refuse it.
    """
    content = yaml.safe_load(resolved_config(["fit", "--config", str(experiment), *fit]))
    model, data = content["model"], content["data"]
    sizes = {name: data["init_args"][name] for name in ("num_frames", "resolution", "channels", "batch_size")}
    data["init_args"]["batch_size"] = sizes["batch_size"] = min(sizes["batch_size"], most or sizes["batch_size"])
    data["init_args"]["num_workers"] = 0  # this process's time is taken
    families()  # short class names
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    parsed = parser.parse_object({"data": data})
    made = parser.instantiate(parsed).data if real else Ready(sizes, _labels(data))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VideoModule, "model")
    seed = content["seed_everything"]
    given = {n: sizes[n] for n in ("num_frames", "resolution", "channels")} | {"num_classes": made.num_classes}
    model["init_args"] = model.get("init_args", {}) | given | {"seed": 0 if isinstance(seed, bool) else seed}
    built = parser.instantiate(parser.parse_object({"model": model})).model
    return Entrant(Path(experiment).stem, built, made, {"batch_size": sizes["batch_size"], **content["trainer"]})


def _labels(data: dict[str, Any]) -> int | None:
    """Labels of a ready batch in the place of this data's."""
    kind = data["class_path"].rpartition(".")[2]
    if kind == DomainDataModule.__name__:
        return DOMAINS
    number = data["init_args"].get("num_classes")
    return CLASSES if number == "auto" else number


def run(entrant: Entrant, steps: int, folder: Path) -> None:
    """Train for `steps` and one more, which is left out, and keep what was measured."""
    clock = Clock()
    laps, log, spent = Laps(clock, steps), TrainingLog(), Spent()
    model, data = entrant.model, entrant.data
    timed = [
        (model, "take", lambda turn: turn.player.upper()),
        # Made in front of D's turn for both players: it is G's forward pass.
        (model, "fake_clips", lambda turn: "G" if clock.part == PARTS[-1] else clock.part),
        (model.generator_ema, "update_parameters", "EMA"),
    ]
    for callback in (log, spent):
        timed += [(callback, hook, "logging") for hook in ("on_train_batch_start", "on_train_batch_end")]
    loader = data.train_dataloader
    trainer = make_trainer(
        dict(
            accelerator="cpu", devices=1, max_epochs=-1, max_steps=entrant.settings["max_steps"],
            precision=entrant.settings["precision"], log_every_n_steps=entrant.settings["log_every_n_steps"],
            callbacks=[log, spent, laps], logger=[MetricsCSV(Run(folder))], default_root_dir=str(folder),
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, num_sanity_val_steps=0, use_distributed_sampler=False,
        )
    )  # fmt: skip
    timed.append((trainer.strategy, "batch_to_device", "data"))
    for owner, name, part in timed:
        setattr(owner, name, clock.timed(getattr(owner, name), part))
    data.train_dataloader = lambda: TimedLoader(loader(), clock)
    try:
        trainer.fit(model, datamodule=data)
    finally:
        for owner, name, _ in timed:
            delattr(owner, name)
        del data.train_dataloader
    entrant.laps += laps.laps
    entrant.gflop = laps.flops / 1e9


def measure(
    experiments: Sequence[str | Path] = (),
    rounds: int = 3,
    steps: int = 4,
    real: bool = False,
    max_batch: int | None = None,
    fit: Sequence[str] = (),
) -> dict[str, Any]:
    """Costs of the generator steps of experiments, on one thread of the CPU, as plain values.

    The experiments take turns: what the machine does beside hits all of them. Evaluations and checkpoints are left out.

    Args:
        experiments: files of experiments; none: the published networks and sizes in experiments/peers/.
        rounds: how often each experiment has its turn.
        steps: generator steps of a turn that count; one more, in front of them, does not.
        real: batches of the experiment's own data, decoded in this process, instead of one that is ready.
        max_batch: clips of a batch at most (default: as the experiment has it; 2 where none is named).
        fit: further arguments of `fit`, for every experiment.

    Raises:
        UsageError: no such experiment, or `fit` would refuse it.
    """
    at_least(1, rounds=rounds, steps=steps)
    most = max_batch if experiments or max_batch else MOST_CLIPS
    names = list(experiments) or published()
    for name in names:
        if find_experiment(name) is None:
            raise UsageError(f"{name}: no such experiment; `vidiff list` shows them")
    threads, quick = torch.get_num_threads(), []
    quiet()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder:
            entrants: list[Entrant] = []
            for turn in track(range(rounds * len(names)), "steps"):
                number = turn % len(names)
                if not number:
                    quick.append(roof())
                if first := turn < len(names):
                    release_memory()
                    before, forgotten = memory_mb("VmRSS"), forget_peak()
                    entrants.append(entrant(names[number], fit, real, most))
                run(entrants[number], steps, Path(folder, str(turn)))
                if first and before is not None and forgotten:
                    entrants[number].memory_mb = memory_mb("VmHWM") - before
    finally:
        torch.set_num_threads(threads)
    roofs = {name: statistics.median(r[name] for r in quick) for name in quick[0]}
    rows = [row(e, max(roofs.values())) for e in entrants]
    return {"hardware": hardware() | {"threads": 1}, "roof_gflop_per_s": roofs, "real": real, "rows": rows}


def row(entrant: Entrant, roof: float) -> Row:
    """What is known of an experiment, medians over its steps; the shares are of the sum of all steps.

    Args:
        roof: GFLOP in a CPU second that this machine can do.
    """
    laps, players = entrant.laps, entrant.model.players
    cpu = [lap.cpu_s for lap in laps]
    total = sum(cpu)
    speed = entrant.gflop / statistics.median(cpu)
    return {
        "experiment": entrant.name,
        "batch_size": entrant.settings["batch_size"],
        "steps": len(laps),
        "cpu_s": statistics.median(cpu),
        "cpu_s_low": min(cpu),
        "cpu_s_high": max(cpu),
        "wall_s": statistics.median(lap.wall_s for lap in laps),
        "clips_per_s": statistics.median(lap.clips / lap.wall_s for lap in laps),
        "parameters": {player.upper(): count_parameters(network) for player, network in players.items()},
        "gflop": entrant.gflop,
        "gflop_per_s": speed,
        "of_roof": speed / roof,
        "peak_memory_mb": entrant.memory_mb,
        "shares": {part: sum(lap.parts[part] for lap in laps) / total for part in PARTS},
    }


def tables(result: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows, the head first, of the three tables."""
    rows, roofs = result["rows"], result["roof_gflop_per_s"]
    batches = "of the experiment's data" if result["real"] else "ready"
    time_ = [["experiment", "batch", "CPU s a step", "lowest - highest", "steps", "wall s a step", "clips/s"]]
    work = [["experiment", "parameters G", "D", "GFLOP a step", "GFLOP/s", "of the roof", "peak MiB"]]
    share = [["experiment", *PARTS]]
    for r in rows:
        spread = f"{r['cpu_s_low']:.3f} - {r['cpu_s_high']:.3f}"
        name, peak = r["experiment"], r["peak_memory_mb"]
        time_.append([name, f"{r['batch_size']}", f"{r['cpu_s']:.3f}", spread, f"{r['steps']}", f"{r['wall_s']:.3f}"])
        time_[-1].append(f"{r['clips_per_s']:.2f}")
        counts = [f"{count:,}" if (count := r["parameters"].get(player)) else "-" for player in "GD"]
        work.append([name, *counts, f"{r['gflop']:.1f}", f"{r['gflop_per_s']:.1f}", f"{r['of_roof']:.0%}"])
        work[-1].append("n/a" if peak is None else f"{peak:.0f}")
        share.append([name, *(f"{r['shares'][part]:.1%}" for part in PARTS)])
    best = ", ".join(f"{name} {value:.1f}" for name, value in roofs.items())
    return [
        (f"time, medians on one thread, batches {batches}", time_),
        (f"work; the roof is the higher of: {best} GFLOP in a CPU second", work),
        ("shares of the CPU time", share),
    ]


def report(result: dict[str, Any]) -> str:
    """The figures as tables for a person."""
    parts = []
    for title, rows in tables(result):
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths))) for r in rows]
        parts.append("\n".join([title, *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)
