"""`vidiff bench data`: the options, the figures as a table. Importing it does not import torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vidiff bench data`."""
    parser.add_argument("--root", type=Path, help="folder of videos; default: the embedded set (data/shapes)")
    parser.add_argument("--num_frames", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=16, help="clips per batch of the augmentation and the step")
    parser.add_argument("--width", type=int, default=32, help="base channels of the DCGAN of the step")
    parser.add_argument("--seconds", type=float, default=3.0, help="least time for each measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_data_bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print, and return the figures as plain values.

    CPU times are of this process with all its threads: they bear other programs on the machine better than the clock.
    """
    import torch

    from vidiff.bench.data_costs import augmentation, embedded, readers

    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    with torch.random.fork_rng():
        result = {
            "num_frames": args.num_frames,
            "resolution": args.resolution,
            "batch_size": args.batch_size,
            "width": args.width,
            "threads": torch.get_num_threads(),
            "readers": readers(args.root or embedded(), args.num_frames, args.resolution, args.seconds),
            "augment": {
                device: augmentation(
                    args.num_frames, args.resolution, args.batch_size, args.width, args.seconds, torch.device(device)
                )
                for device in devices
            },
        }
    print(json.dumps(result, indent=2) if args.json else report(result))
    return result


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
