"""Write a trained generator for other programs: ONNX, torch.export, safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def export(
    *,
    ckpt: Path,
    output: Path,
    format: Literal["onnx", "exported", "safetensors"] | None = None,
    direction: str | None = None,
    target: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Write the averaged generator of a checkpoint as a file that other programs run, and compare it with the model.

    Args:
        ckpt, output, format, direction, target: see `vidiff.inference.export.export`.
        trust: see `vidiff.inference.checkpoint.load_model`.
    """
    from vidiff.inference.export import export as write

    done = write(ckpt, output, format=format, direction=direction, target=target, trust=trust or ())
    for name, sides in done.inputs.items():
        print(f"input {name}: ({', '.join(map(str, sides))})")
    print(f"{done.path}: at most {done.error:.1e} from the model's own output")
