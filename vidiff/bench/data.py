"""What the data path costs: reading and augmenting, measured and as a table. Importing it does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def measure(
    root: Path | None = None,
    num_frames: int = 16,
    resolution: int = 64,
    batch_size: int = 16,
    width: int = 32,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Costs of reading and of augmenting, as plain values.

    CPU times are of this process with all its threads: they bear other programs on the machine better than the clock.

    Args:
        root: folder of videos; None: the embedded set.
        num_frames: frames of a clip.
        resolution: height and width in pixels.
        batch_size: clips of a batch of the augmentation and of the step.
        width: base channels of the DCGAN of the step.
        seconds: least time for each measurement.
    """
    import torch

    from vidiff.bench.data_costs import augmentation, embedded, readers

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with torch.random.fork_rng():
        return {
            "num_frames": num_frames,
            "resolution": resolution,
            "batch_size": batch_size,
            "width": width,
            "threads": torch.get_num_threads(),
            "readers": readers(root or embedded(), num_frames, resolution, seconds),
            "augment": {
                device: augmentation(num_frames, resolution, batch_size, width, seconds, torch.device(device))
                for device in devices
            },
        }


def report(result: dict[str, Any]) -> str:
    """The figures as a table for a person."""
    r = result["readers"]
    size = f"{result['num_frames']}x{result['resolution']}x{result['resolution']}"
    lines = [f"reading clips of {size} from {r['root']} ({r['videos']} videos, {', '.join(r['sizes'][:4])})"]
    lines.append(f"  {'':34}{'CPU ms/clip':>12}{'clips/s':>10}{'x pyav':>10}")
    for name, row in r["ways"].items():
        lines.append(f"  {name:34}{row['cpu_ms_per_clip']:12.3f}{row['clips_per_s']:10.0f}{row['times_pyav']:10.1f}")
    for device, a in result["augment"].items():
        unit = "CPU ms" if a["unit"] == "cpu_ms" else "ms"
        lines.append(f"\naugmenting {result['batch_size']} clips of {size} on {device}, {unit} a batch;")
        lines.append(f"one DCGAN step (width {result['width']}) takes {a['dcgan_step_ms']:.1f}")
        lines.append(f"  {'operator, p=1':18}{'cost':>10}{'plain torch':>13}{'ratio':>8}{'of a step':>11}")
        for name, row in a["operators"].items():
            lines.append(
                f"  {name:18}{row['ms']:10.2f}{row['reference_ms']:13.2f}{row['times_reference']:8.1f}"
                f"{row['of_step']:11.1%}"
            )
        lines.append(f"  {'preset':18}{'as it is':>10}{'of a step':>13}{'p=1':>8}{'of a step':>11}")
        for name, row in a["presets"].items():
            lines.append(
                f"  {name:18}{row['ms']:10.2f}{row['of_step']:13.1%}{row['ms_p1']:8.2f}{row['of_step_p1']:11.1%}"
            )
    return "\n".join(lines)
