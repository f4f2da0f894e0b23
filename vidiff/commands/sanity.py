"""Corrupt real clips in known ways and see whether metrics rise with the dose."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vidiff.errors import RunError
from vidiff.files import write_json
from vidiff.progress import say


def sanity(
    *,
    root: Path | None = None,
    metrics: str = "clip_distance",
    num_clips: int = 256,
    num_frames: int = 16,
    resolution: int = 32,
    frame_stride: int = 1,
    seed: int = 0,
    json_: Path | None = None,
    batch_size: int = 32,
    backend: Literal["pyav", "auto", "decord"] = "pyav",
    device: str | None = None,
) -> None:
    """Corrupt real clips in known ways and doses; fail (exit status 1) where a metric does not rise with the dose.

    Args:
        metrics: names of distances with commas between them.
        json_: a file for the values.
        root, num_clips, num_frames, resolution, frame_stride: see `vidiff.inference.sanity.check_metrics`.
        seed, batch_size, backend, device: see `vidiff.inference.sanity.check_metrics`.

    Raises:
        RunError: a metric is not monotone.
    """
    from vidiff.inference.sanity import check_metrics

    what = dict(num_clips=num_clips, num_frames=num_frames, resolution=resolution, frame_stride=frame_stride)
    how = dict(seed=seed, batch_size=batch_size, backend=backend, device=device, say=say)
    found = check_metrics(root, metrics=metrics, **what, **how)
    if json_:
        write_json(json_, found)
    for name, result in found["metrics"].items():
        _print(name, result, found)
    failed = [f"{name} under {', '.join(r['failed'])}" for name, r in found["metrics"].items() if r["failed"]]
    if failed:
        raise RunError(f"not monotone: {'; '.join(failed)}")


def _print(name: str, result: dict[str, Any], found: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console, floor, unit = Console(), result["floor"], result["unit"]
    columns = ["corruption", *(f"dose {i}" for i in range(1, 6)), ""]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for corruption, values in result["corruptions"].items():
        table.add_row(corruption, *(f"{v / unit:.3g}" for v in values), "FAILS" * (corruption in result["failed"]))
    console.print(
        f"{name}: floor {floor:.4g}; {'values' if unit == 1.0 else 'values as multiples of the floor'}", highlight=False
    )
    console.print(table)
    if result["held_out"] is not None:
        videos = "{} videos against {}".format(*found["videos"])
        console.print(f"real, held out ({videos}): {result['held_out'] / unit:.3g}", highlight=False)
