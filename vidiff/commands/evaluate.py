"""Compare a folder of generated videos with a folder of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidiff.files import write_json
from vidiff.progress import say


def evaluate(
    *,
    real: Path,
    fake: Path,
    metrics: str = "auto",
    num_clips: int | None = None,
    num_frames: int = 16,
    resolution: int | None = None,
    frame_stride: int = 1,
    seed: int = 0,
    per_frame: bool = False,
    blocks: int = 16,
    versus: Path | None = None,
    json_: Path | None = None,
    weights: Path | None = None,
    batch_size: int = 32,
    backend: Literal["pyav", "auto", "decord"] = "pyav",
    device: str | None = None,
) -> None:
    """Compare a folder of generated videos with a folder of real ones; one clip is taken from each generated video.

    Args:
        metrics: names with commas between them, or auto.
        json_: a file for values, floors and protocols.
        real, fake, num_clips, num_frames, resolution, frame_stride: see `vidiff.inference.compare.compare_folders`.
        seed, per_frame, blocks, versus: see `vidiff.inference.compare.compare_folders`.
        weights, batch_size, backend, device: see `vidiff.inference.compare.compare_folders`.
    """
    from vidiff.inference.compare import compare_folders

    what = dict(metrics=metrics, num_clips=num_clips, num_frames=num_frames, resolution=resolution, seed=seed)
    what |= dict(frame_stride=frame_stride, per_frame=per_frame, blocks=blocks, versus=versus, weights=weights)
    result = compare_folders(real, fake, batch_size=batch_size, backend=backend, device=device, say=say, **what)
    (_print_curves if per_frame else _print_table)(result.metrics)
    if json_:
        write_json(json_, {"per_frame" if per_frame else "metrics": result.metrics, "left_out": result.left_out})


def _print_table(results: dict[str, dict]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "± SE", "floor", "clips", "weights", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("protocol", no_wrap=True)
    for name, r in results.items():
        value, error, floor = (_number(r.get(key)) for key in ("value", "se", "floor"))
        clips = f"{r['protocol']['n_real']}/{r['protocol']['n_fake']}{' !' if r['low_n'] else ''}"
        table.add_row(name, value, error, floor, clips, "official" if r["official"] else "own", r["hash"])
    console = Console()
    console.print(table)
    rules = dict.fromkeys(f"{r['protocol']['floor_rule']} ({r['protocol']['floor_n']} clips)" for r in results.values())
    console.print(f"clips: real/generated; floor: {'; '.join(rules)}", highlight=False)
    if any(r["low_n"] for r in results.values()):
        console.print("! fewer samples than features, so that bias dominates the value", highlight=False)
    for name, r in results.items():
        if v := r.get("versus"):
            words = f"{name}: {_number(r['value'])} against {_number(v['value'])}, p = {v['p']:.3g} of there being no "
            console.print(words + "difference between these two sets of clips", highlight=False)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def _print_curves(results: dict[str, dict]) -> None:
    for name, r in results.items():
        print(f"{name} at each frame index, {r['clips']} videos against as many real frames (floor {r['floor']:.4g})")
        for start in range(0, len(r["values"]), 8):
            print(f"  {start:>4}  " + "  ".join(f"{v:8.4g}" for v in r["values"][start : start + 8]))
